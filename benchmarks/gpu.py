"""One table for a GPU: training steps of 60M to 1B in bfloat16, 256 tokens a sequence, each method,
with and without torch.compile: tokens/s, MFU, peak memory, exact updates, the loader.

`--device cpu --models llama_9m --dtype float32` shows that it runs."""
import gc

import torch

from common import (NEVER, RANKS, finish, flag_parser, interleave, median, medians, row,
                    seconds_of)
from lowrank_nb.costs import cost_report
from lowrank_nb.data import TextSource, TrainStream, load_tokenizer
from lowrank_nb.evaluate import LMLoss
from lowrank_nb.factorize import FactorizeConfig, factorize
from lowrank_nb.models import build_model
from lowrank_nb.optimizers import LOROAdamW, param_groups

METHODS = dict(
    dense=dict(kind='dense'), lowrank=dict(kind='lowrank'), cola=dict(kind='cola'),
    cola_recompute=dict(kind='cola', recompute=True), lost=dict(kind='lost', sparsity=.01))
# Dense bfloat16 FLOP/s by the makers' data sheets.
PEAKS = {'H200': 989e12, 'H100': 989e12, 'A100': 312e12, 'L40': 181e12, '4090': 165e12}

def synchronize():
    if torch.cuda.is_available(): torch.cuda.synchronize()

class Passes:
    "Forward, backward and a whole step of one model on random tokens."
    def __init__(self, name:str, method:str, args):
        torch.manual_seed(0)
        model, rank = build_model(name).to(args.device), RANKS[name]
        config = FactorizeConfig(attn_rank=rank, mlp_rank=rank, **METHODS[method])
        if method!='dense': factorize(model, config)
        self.args, self.low = args, args.dtype=='bfloat16'
        self.flops = 3*cost_report(model, 256)[-1]['flops']  # per token, forward and backward
        shape, vocabulary = (args.batch, 256), model.config.vocab_size
        self.x = torch.randint(0, vocabulary, shape, device=args.device)
        self.loss = self.eager = LMLoss(model)
        if method=='lowrank':
            groups = param_groups(model)
            self.opt = LOROAdamW(groups, lr=1e-4, exact_every=NEVER, refresh='all',
                                 refresh_every=NEVER)
        else: self.opt = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def passes(self):
        self.opt.zero_grad(set_to_none=True)
        with torch.autocast(self.args.device, torch.bfloat16, enabled=self.low):
            nats, _ = self.loss(self.x, self.x)
        (nats/self.x.numel()).backward()

    def step(self):
        self.passes()
        self.opt.step()

    def exact_in_passes(self, repeats:int)->float:
        "Return the cost of an exact update of every factor in forward and backward passes."
        def update(every):
            for group in self.opt.param_groups: group['exact_every'] = every
            self.opt.step()
        self.passes()
        ways = dict(lazy=lambda: update(NEVER), exact=lambda: update(1), passes=self.passes)
        s = medians(interleave(ways, repeats, synchronize))
        for group in self.opt.param_groups: group['exact_every'] = NEVER
        return (s['exact']-s['lazy'])/s['passes']

def timed(work:Passes, args)->tuple[list[float],float|None]:
    "Return seconds a step and the peak GiB (None on a CPU). A host synchronisation is an error."
    on_gpu = args.device=='cuda'
    if on_gpu: torch.cuda.reset_peak_memory_stats()
    for _ in range(3): work.step()
    if on_gpu:
        torch.cuda.set_sync_debug_mode('error')
        work.step()
        torch.cuda.set_sync_debug_mode('default')
    seconds = interleave(dict(step=work.step), args.repeats, synchronize)['step']
    return seconds, torch.cuda.max_memory_allocated()/2**30 if on_gpu else None

def beside_dense(label:str, name:str, method:str, now:tuple, dense:tuple)->list[dict]:
    "Return speed and memory as ratios to the dense model; goals hold for 1B."
    (tokens, memory), large = now, name=='llama_1b'
    goal = {'lost': 1.7}.get(method, 1.9) if large and method!='cola_recompute' else None
    rows = [row(f'{label}: times faster than dense', tokens/dense[0], goal)]
    if memory:
        what = f'{label}: peak memory over dense'
        rows.append(row(what, memory/dense[1], .55 if large else None, higher=False))
    return rows

def measure(name:str, method:str, args, dense:dict, peak:float|None)->list[dict]:
    "Return the rows of one model; `dense` keeps dense figures by (model, compiled)."
    work, rows = Passes(name, method, args), []
    for compiled in (False, True) if args.compile else (False,):
        label = f"{name} {method}{' compiled' if compiled else ''}"
        work.loss = torch.compile(work.eager) if compiled else work.eager
        seconds, memory = timed(work, args)
        n = args.batch*256
        tokens = n/median(seconds)
        rows.append(row(f'{label}: tokens/s', tokens, low=n/max(seconds), high=n/min(seconds)))
        goal = 45 if method=='dense' else None
        if peak: rows.append(row(f'{label}: MFU, %', 100*tokens*work.flops/peak, goal))
        if method=='dense': dense[name, compiled] = tokens, memory
        elif (name, compiled) in dense:
            rows += beside_dense(label, name, method, (tokens, memory), dense[name, compiled])
        if memory: rows.append(row(f'{label}: peak memory, GiB', memory))
    if method=='lowrank':
        what = f'{name} {method}: exact update, in forward and backward passes'
        rows.append(row(what, work.exact_in_passes(max(3, args.repeats//3)), 3, higher=False))
    return rows

def loader_row(batch:int)->dict:
    "Time the loader."
    stream = TrainStream(TextSource.docstrings(), load_tokenizer('bytes'), batch, 256)
    next(stream)
    ms = 1e3*median([seconds_of(lambda: next(stream), synchronize) for _ in range(20)])
    return row('loader, bytes of the embedded corpus: ms a batch', ms)

def parse():
    p = flag_parser(__doc__)
    models = ['llama_60m', 'llama_130m', 'llama_350m', 'llama_1b']
    p.add_argument('--models', nargs='+', default=models)
    p.add_argument('--methods', nargs='+', default=list(METHODS))
    p.add_argument('--device', default='cuda')
    p.add_argument('--dtype', default='bfloat16', choices=('bfloat16', 'float32'))
    p.add_argument('--batch', type=int, default=64, help='sequences of 256 tokens')
    p.add_argument('--compile', action='store_true', help='each method eager and compiled')
    return p.parse_args()

def main():
    args, rows, dense = parse(), [], {}
    gpu = torch.cuda.get_device_name() if args.device=='cuda' else ''
    peak = next((v for k,v in PEAKS.items() if k in gpu), None)
    def keep():
        finish('gpu' if gpu else 'gpu_on_cpu', rows, args.out, dtype=args.dtype, batch=args.batch,
               compiled=args.compile)
    for name in args.models:
        for method in args.methods:
            try: rows += measure(name, method, args, dense, peak)
            except torch.OutOfMemoryError as e:
                what = f'{name} {method}: out of memory at batch {args.batch}'
                rows.append(row(what, float('nan'), why=str(e).splitlines()[0]))
            keep()  # what is measured is kept, whatever comes after
            gc.collect()
            torch.compiler.reset()
            if gpu: torch.cuda.empty_cache()
    rows.append(loader_row(args.batch))
    keep()

if __name__=='__main__': main()
