"""The study of notebook 20: C4 as bytes, a LLaMA of 0.9M parameters. A queue that can be stopped and goes on where it was.

    python studies/c4_bytes.py            work through the queue, two runs at a time
    python studies/c4_bytes.py --pending  only say what is missing

From the top of a checkout, with C4's files (or the sample of it) in `../shared/data/c4/en`; rows go to nbs/results/c4_bytes.jsonl."""
import argparse, sys
from lowrank_nb.compare import METHODS, Run, Setting, best_rate, finished, next_rates, read_rows, work

OUT = 'nbs/results/c4_bytes.jsonl'
SETTING = Setting(data='../shared/data/c4/en/c4-train.*.json.gz', val_data='../shared/data/c4/en/c4-validation.*.json.gz')
STEPS, LONG, SEEDS = 600, 3000, (0,1,2)
CORE = 'control','dense','lowrank','loro','cola','lost'
MORE = 'loro_plain','lowrank_refresh','lost_silu','lost_loro','muon','muon_lowrank','muon_cola','muon_lost','galore','apollo'

# A question is asked of a method at its best rate; `wide` ones change what a rate means, so half and twice that rate are run too, or the multiples that are named, and further ones until the best lies inside.
rank = lambda r: f'--loro_attn_rank {r} --loro_mlp_rank {r}'
QUESTIONS = {
    "initial scale: dense with other weights":   [('dense', f'--model_config studies/llama_9m_{s}.json', True) for s in ('init005','init01','init04')],
    "initial scale: twice as large":            [(m, '--model_config studies/llama_9m_init04.json', False) for m in ('lowrank','loro','cola','lost')],
    "LORO: how often exact":                     [('loro', f'--loro_freq {k}', False) for k in (1,10,100000)],
    "LoST: the mask":                            [('lost', f'--lost_sparse_method {m}', False) for m in ('random','gradient')],
    "LORO: plain Adam on the factors":           [('loro', '--loro_type eucl', (.05,.1,.2,.5,1))],
    "LORO: the learning-rate scaler":            [('loro', '--loro_lr_scaler 1.0', (.125,.25,.5,1,2))],
    "LoST: gamma":                               [('lost', f'--lost_gamma {g}', False) for g in (.25,.75,1.)],
    "LoST: sparsity":                            [('lost', f'--lost_sparsity {s}', False) for s in (.01,.2)],
    "factors' init":                             [(m, f'--loro_init {i}', False) for m,inits in dict(lowrank=('auto','cola','svd'), loro=('svd',), lost=('xavier','cola'), muon_lowrank=('svd',)).items() for i in inits],
    "CoLA: its init":                            [('cola', f'--cola_init False --loro_init {i}', False) for i in ('xavier','svd')],
    "LoST: which layers":                        [('lost', f'--loro_scope {s}', False) for s in ('attn','mlp')],     # LoST's best rate is the dense layers' too
    "CoLA: the MLP's own activation":            [('cola', '--cola_keep_mlp_act False', False)],
    "rank":                                      [(m, rank(r), True) for m in ('lowrank','loro','cola','lost') for r in (8,16,64)],
}

# What a whole pass makes of an answer that was ahead after 600 updates, at the method's own best rate.
PASS = [('lowrank', '--loro_init svd'), ('loro', '--loro_freq 1'), ('dense', '--model_config studies/llama_9m_init04.json'), ('muon', ''), ('muon_lowrank', '')]

def tried(m:str, rows:list[dict], extra:str='')->list[dict]: return [r for r in rows if (r['method'],r['extra'],r['steps'])==(m,extra,STEPS)]

def tuning(m:str, rows:list[dict])->list[Run]:
    "The runs of a method's grid, grown while its best rate lies at the edge."
    had = tried(m, rows); rates = {*METHODS[m][1], *(r['lr'] for r in had)}
    if {r['lr'] for r in had}==rates: rates |= {*next_rates(had)}
    return [Run(m, lr, steps=STEPS) for lr in sorted(rates)]

def tuned(m:str, rows:list[dict])->float|None: # None: not yet
    "A method's best rate, once it lies inside its grid. It may change when its other seeds come in: then the next one gets its seeds too."
    had = tried(m, rows)
    return best_rate(had) if had and {r['lr'] for r in had}>={*METHODS[m][1]} and not next_rates(had) else None

def ask(m:str, extra:str, wide:bool|tuple, best:float, rows:list[dict])->list[Run]:
    "The runs of one question: a grid around the best rate where a rate means another thing, grown like any grid, then all seeds at what is best there."
    if not wide: return [Run(m, best, s, STEPS, extra) for s in SEEDS]
    grid = {float(f'{best*f:g}') for f in (wide if isinstance(wide, tuple) else (.5,1,2))}
    had = tried(m, rows, extra); first = [Run(m, lr, 0, STEPS, extra) for lr in sorted(grid)]
    if not {r['lr'] for r in had}>=grid: return first
    if {r['lr'] for r in had} <= {r['lr'] for r in had if not finished([r])}: return first + [Run(m, min(r['lr'] for r in had)/2, 0, STEPS, extra)]       # all of them diverge, with some seed
    return first + [Run(m, lr, 0, STEPS, extra) for lr in next_rates(had)] + ([] if next_rates(had) else [Run(m, best_rate(had), s, STEPS, extra) for s in SEEDS])

def after_tuning(rows:list[dict])->list[Run]:
    "What follows from the best rates that are known, in order of importance."
    best = {m: b for m in (*CORE,*MORE) if (b := tuned(m, rows))}
    seeds = [Run(m, best[m], s, STEPS) for m in CORE if m in best for s in SEEDS]
    asked = [r for q in QUESTIONS.values() for m,extra,wide in q if m in best for r in ask(m, extra, wide, best[m], rows)]
    long = [Run(m, best[m], s, LONG) for s in SEEDS for m in CORE if m in best]
    passes = [Run(m, best[m], s, LONG, extra) for s in SEEDS for m,extra in PASS if m in best]
    more = [Run(m, best[m], s, STEPS) for m in MORE if m in best for s in SEEDS]
    return seeds + long + asked + passes + more

def queue(rows:list[dict])->list[Run]:
    "All runs that are known to be wanted, given the rows that are there."
    return [*(r for m in CORE for r in tuning(m, rows)), *after_tuning(rows), *(r for m in MORE for r in tuning(m, rows))]

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--pending', action='store_true'); p.add_argument('--jobs', type=int, default=2); a = p.parse_args()
    done = lambda: {r['key'] for r in read_rows(OUT)}
    todo = lambda: [r for r in queue(read_rows(OUT)) if r.key not in done()]
    while t := todo():
        if a.pending: print(*(f'pending: {r.key}' for r in t), f'{len(done())} runs done, {len(t)} known to be pending', sep='\n'); sys.exit()
        work(t[:a.jobs], SETTING, OUT, a.jobs)
        print(f'{len(done())} done, {len(t)-a.jobs} known to be left', flush=True)
    print('nothing is pending')
