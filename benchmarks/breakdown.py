"""Where a training step's time goes, kernel by kernel, from `torch.profiler`: the blocks' matrix
products and the rate they reach, attention, the head, the optimizer, elementwise work.

With --loss: the cost of head and loss with this package's loss and with Transformers' own, and how
much a better loss could gain at most."""
import gc

import torch
from torch.profiler import ProfilerActivity, profile

from common import finish, flag_parser, median, ratio_row, row, seconds_of
from step import Step

VOCABULARY = 32000
BLOCKS = 'products of the blocks'
WIDE = 'head, loss, embedding'
PRODUCTS = 'aten::mm', 'aten::addmm', 'aten::bmm', 'aten::baddbmm'
HEAD = HEAD_PRODUCTS, HEAD_REST = 'products of the head', 'softmax, loss and copies'
PAIR = 'dense', 'lowrank'

def part_of(event)->str:
    "Name the part of a step that a kernel belongs to, by its name and its shapes."
    if 'attention' in event.key:
        return 'attention'
    shapes = (s for s in event.input_shapes if isinstance(s, (list, tuple)))
    if any(VOCABULARY in s for s in shapes):
        return WIDE
    return BLOCKS if event.key in PRODUCTS else 'elementwise and copies'

def profiled(step:Step)->list:
    "Return the kernels of a step without its optimizer."
    update, step.opt.step = step.opt.step, lambda: None
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_flops=True) as p:
        step()
    step.opt.step = update
    return p.key_averages(group_by_input_shape=True)

def parts_of_step(step:Step)->tuple[dict,float]:
    """Return the seconds of each part, kernels by the profiler's self times and the optimizer by
    the clock, and the FLOPs of the blocks' products."""
    seconds, flops = {}, 0
    for event in profiled(step):
        part = part_of(event)
        seconds[part] = seconds.get(part, 0.) + event.self_cpu_time_total/1e6
        if part==BLOCKS: flops += event.flops
    return dict(optimizer=seconds_of(step.opt.step), **seconds), flops

def square_rate(n:int=2048)->float:
    "Return the FLOP/s of a square product: what this machine can do."
    x = torch.randn(n, n)
    return 2*n**3/median([seconds_of(lambda: x@x) for _ in range(5)])

def head_of_step(step:Step)->dict:
    "Return the seconds of the products with the vocabulary, of the rest of its size, of all."
    seconds = dict.fromkeys((*HEAD, 'step'), 0.)
    for event in profiled(step):
        s = event.self_cpu_time_total/1e6
        seconds['step'] += s
        if part_of(event)==WIDE:
            seconds[HEAD_PRODUCTS if event.key in PRODUCTS else HEAD_REST] += s
    return seconds

def loss_rows(name:str, repeats:int)->list[dict]:
    "Compare our loss with Transformers' in both models. Ceiling: all but the products for nothing."
    steps = {(k, own): Step(name, k, own_loss=not own) for k in PAIR for own in (True, False)}
    seen, rows = {k: [] for k in steps}, []
    for s in steps.values(): head_of_step(s)  # warms up
    for _ in range(repeats):
        for k,s in steps.items():
            seen[k].append(head_of_step(s))
    for kind in PAIR:
        for own in (True, False):
            who = 'our' if own else 'Transformers’'
            for q in (*HEAD, 'step'):
                value = median([x[q] for x in seen[kind, own]])
                rows.append(row(f'{name} {kind}, {who} loss: {q}, seconds', value, model=name,
                                kind=kind, own=own, part=q))
        ours, theirs = ([x['step'] for x in seen[kind, own]] for own in (True, False))
        rest = median([x[HEAD_REST] for x in seen[kind, False]])
        whole = median(theirs)
        what = f'{name} {kind}: step, times faster than with Transformers’ loss'
        rows.append(ratio_row(what, theirs, ours, model=name, kind=kind,
                              ceiling=whole/(whole-rest)))
    return rows

def model_rows(name:str, repeats:int)->list[dict]:
    "Break down the steps of one model."
    steps = {k: Step(name, k) for k in PAIR}
    seen = {k: [] for k in PAIR}
    rates = []
    rows = []
    totals = {}
    for s in steps.values(): s()  # warms up, and makes the moments
    for _ in range(repeats):
        rates.append(square_rate())
        for k,s in steps.items():
            seen[k].append(parts_of_step(s))
    for k,runs in seen.items():
        seconds = {q: median([s[q] for s,_ in runs]) for q in runs[0][0]}
        flops, totals[k] = runs[0][1], sum(seconds.values())
        for q,t in sorted(seconds.items(), key=lambda item: -item[1]):
            rows.append(row(f'{name} {k}: {q}, % of the step', 100*t/totals[k], model=name, kind=k,
                            part=q, seconds=t))
        what = f"{name} {k}: the blocks' products, % of the rate of a square one"
        rate = 100*flops/seconds[BLOCKS]/median(rates)
        rows.append(row(what, rate, model=name, kind=k, flops=flops, square=median(rates)))
    what = f'{name}: dense seconds over low-rank seconds'
    return [*rows, row(what, totals['dense']/totals['lowrank'])]

def main():
    parser = flag_parser(__doc__, threads=(1,), repeats=3)
    rows = []
    models = ['llama_60m', 'llama_130m', 'llama_350m']
    parser.add_argument('--models', nargs='+', default=models)
    parser.add_argument('--loss', action='store_true',
                        help='compare the losses instead; to results/breakdown_loss.json')
    args = parser.parse_args()
    torch.set_num_threads(args.threads[0])
    for name in args.models:
        rows += (loss_rows if args.loss else model_rows)(name, args.repeats)
        gc.collect()
    name = 'breakdown_loss' if args.loss else 'breakdown'
    finish(name, rows, args.out, threads=args.threads, tokens=1024)

if __name__=='__main__': main()
