"""Where a training step's time goes, kernel by kernel, from `torch.profiler`: the blocks' matrix products and the rate they reach, attention, the head, the optimizer, what is elementwise.
With --loss: what the head and the loss take with this package's loss and with Transformers' own, and how much a better loss could gain at most."""
import gc, sys, time
import torch
from torch.profiler import ProfilerActivity, profile
from common import command, median, parser, ratio, row, save, show
from step import make

VOCAB = 32000
BLOCKS, WIDE = 'products of the blocks', 'head, loss, embedding'
PRODUCTS = 'aten::mm','aten::addmm','aten::bmm','aten::baddbmm'

def part(e)->str:
    "To which part of a step a kernel belongs, by its name and its shapes."
    if 'attention' in e.key: return 'attention'
    if any(VOCAB in s for s in e.input_shapes if isinstance(s, (list,tuple))): return WIDE
    return BLOCKS if e.key in PRODUCTS else 'elementwise and copies'

def breakdown(step)->tuple[dict,float]: # seconds by part; FLOPs of the blocks' products
    "One step, its kernels by the profiler's self times and its optimizer by the clock."
    events,sec,update = {}, {}, step.opt.step
    step.opt.step = lambda: None
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True) as p: step()
    step.opt.step = update
    for e in p.key_averages(group_by_input_shape=True): events.setdefault(part(e), []).append(e)
    start = time.perf_counter(); update(); sec['optimizer'] = time.perf_counter()-start
    return sec | {k: sum(e.self_cpu_time_total for e in es)/1e6 for k,es in events.items()}, sum(e.flops for e in events[BLOCKS])

def square(n:int=2048)->float: # FLOP/s of a square product: what this machine can do
    x,s = torch.randn(n, n), []
    for _ in range(5): start = time.perf_counter(); x@x; s.append(time.perf_counter()-start)
    return 2*n**3/median(s)

HEAD = 'products of the head','softmax, loss and copies'

def head(step)->dict: # seconds
    "One step without its optimizer: the products with the vocabulary, what else has its size, and all of it."
    step.opt.step = lambda: None
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as p: step()
    sec = dict.fromkeys(HEAD, 0.)
    for e in p.key_averages(group_by_input_shape=True):
        if part(e)==WIDE: sec[HEAD[e.key not in PRODUCTS]] += e.self_cpu_time_total/1e6
    return sec | dict(step=sum(e.self_cpu_time_total for e in p.key_averages())/1e6)

def losses(name:str, repeats:int)->list[dict]:
    "Our loss against Transformers', both models; a gain's ceiling: all but the products for nothing."
    steps, rows = {(k,own): make(name, k, own_loss=not own) for k in ('dense','lowrank') for own in (True,False)}, []; seen = {k: [] for k in steps}
    for s in steps.values(): head(s)                           # warms up
    for _ in range(repeats):
        for k,s in steps.items(): seen[k].append(head(s))
    for k in ('dense','lowrank'):
        sec = {own: {q: median(x[q] for x in seen[k,own]) for q in (*HEAD,'step')} for own in (True,False)}
        rows += [row(f"{name} {k}, {'our' if own else 'Transformers’'} loss: {q}, seconds", sec[own][q], model=name, kind=k, own=own, part=q) for own in (True,False) for q in (*HEAD,'step')]
        v,lo,hi = ratio([x['step'] for x in seen[k,False]], [x['step'] for x in seen[k,True]]); theirs = sec[False]
        rows.append(row(f'{name} {k}: step, times faster than with Transformers’ loss', v, low=lo, high=hi, model=name, kind=k, ceiling=theirs['step']/(theirs['step']-theirs[HEAD[1]])))
    return rows

if __name__=='__main__':
    p = parser(__doc__); p.add_argument('--models', nargs='+', default=['llama_60m','llama_130m','llama_350m']); p.add_argument('--loss', action='store_true', help="compare the losses instead; to results/breakdown_loss.json"); p.set_defaults(threads=[1], repeats=3)
    a = p.parse_args(); rows = []; torch.set_num_threads(a.threads[0])
    if a.loss:
        for name in a.models: rows += losses(name, a.repeats); gc.collect()
        show(rows); save('breakdown_loss', rows, command(), a.out, threads=a.threads, tokens=1024); sys.exit()
    for name in a.models:
        steps = {k: make(name, k) for k in ('dense','lowrank')}; seen = {k: [] for k in steps}; rates = []
        for s in steps.values(): s()                           # warms up, and makes the moments
        for _ in range(a.repeats):
            rates.append(square())
            for k,s in steps.items(): seen[k].append(breakdown(s))
        sec = {k: {q: median(x[q] for x,_ in v) for q in v[0][0]} for k,v in seen.items()}; flops = {k: v[0][1] for k,v in seen.items()}
        for k in steps:
            total = sum(sec[k].values())
            rows += [row(f'{name} {k}: {q}, % of the step', 100*t/total, model=name, kind=k, part=q, seconds=t) for q,t in sorted(sec[k].items(), key=lambda o: -o[1])]
            rows.append(row(f"{name} {k}: the blocks' products, % of the rate of a square one", 100*flops[k]/sec[k][BLOCKS]/median(rates), model=name, kind=k, flops=flops[k], square=median(rates)))
        rows.append(row(f'{name}: dense seconds over low-rank seconds', sum(sec['dense'].values())/sum(sec['lowrank'].values())))
        del steps; gc.collect()
    show(rows); save('breakdown', rows, command(), a.out, threads=a.threads, tokens=1024)
