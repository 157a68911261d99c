"""Where a training step's time goes, kernel by kernel, from `torch.profiler`: the blocks' matrix products and the rate they reach, attention, the head, the optimizer, what is elementwise."""
import gc, time
import torch
from torch.profiler import ProfilerActivity, profile
from common import command, median, parser, row, save, show
from step import make

VOCAB = 32000
BLOCKS = 'products of the blocks'
PRODUCTS = 'aten::mm','aten::addmm','aten::bmm','aten::baddbmm'

def part(e)->str:
    "To which part of a step a kernel belongs, by its name and its shapes."
    if 'attention' in e.key: return 'attention'
    if any(VOCAB in s for s in e.input_shapes if isinstance(s, (list,tuple))): return 'head, loss, embedding'
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

if __name__=='__main__':
    p = parser(__doc__); p.add_argument('--models', nargs='+', default=['llama_60m','llama_130m','llama_350m']); p.set_defaults(threads=[1], repeats=3)
    a = p.parse_args(); rows = []; torch.set_num_threads(a.threads[0])
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
