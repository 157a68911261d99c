"""One table for a GPU: the results of the CPU again, then training steps of 60M to 1B in bfloat16,
256 tokens a sequence, each method, with and without torch.compile: tokens/s, MFU, peak memory,
exact updates, reads that the host waits for, the most expensive kernels; then decoding.

A run ends after `--budget` seconds at the next part and says what is left; the same command resumes
from the results file. `--device cpu --models llama_9m --dtype float32` shows that it runs."""
import gc
import json
import time
import warnings
from pathlib import Path

import decode
import torch

from common import (HERE, NEVER, RANKS, finish, flag_parser, interleave, median, medians, row,
                    seconds_of)
from lowrank_nb.costs import cost_report
from lowrank_nb.data import TextSource, TrainStream, load_tokenizer
from lowrank_nb.evaluate import LMLoss
from lowrank_nb.exact_steps import exact_updates
from lowrank_nb.factorize import FactorizeConfig, factorize
from lowrank_nb.models import build_model
from lowrank_nb.muon import orthogonalize
from lowrank_nb.optimizers import LOROAdamW, param_groups

METHODS = dict(
    dense=dict(kind='dense'), lowrank=dict(kind='lowrank'), cola=dict(kind='cola'),
    cola_recompute=dict(kind='cola', recompute=True), lost=dict(kind='lost', sparsity=.01))
# Dense bfloat16 FLOP/s by the makers' data sheets.
PEAKS = {'H200': 989e12, 'H100': 989e12, 'A100': 312e12, 'L40': 181e12, '4090': 165e12}

def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()

class Passes:
    "Run forward, backward or a whole step of one model on random tokens."
    def __init__(self, name:str, method:str, args):
        torch.manual_seed(0)
        model = build_model(name).to(args.device)
        rank = RANKS[name]
        config = FactorizeConfig(attn_rank=rank, mlp_rank=rank, **METHODS[method])
        if method!='dense':
            factorize(model, config)
        self.args, self.low = args, args.dtype=='bfloat16'
        self.flops = 3*cost_report(model, 256)[-1]['flops']  # per token, forward and backward
        shape = (args.batch, 256)
        vocabulary = model.config.vocab_size
        self.x = torch.randint(0, vocabulary, shape, device=args.device)
        self.loss = self.eager = LMLoss(model)
        if method=='lowrank':
            groups = param_groups(model)
            self.opt = LOROAdamW(groups, lr=1e-4, exact_every=NEVER, refresh='all',
                                 refresh_every=NEVER)
        else:
            self.opt = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

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
            for group in self.opt.param_groups:
                group['exact_every'] = every
            self.opt.step()
        self.passes()
        ways = dict(lazy=lambda: update(NEVER), exact=lambda: update(1), passes=self.passes)
        s = medians(interleave(ways, repeats, synchronize))
        for group in self.opt.param_groups:
            group['exact_every'] = NEVER
        return (s['exact']-s['lazy'])/s['passes']

def waits(function)->int:
    "Count the operations of a call for which the host waits for the GPU."
    torch.cuda.set_sync_debug_mode('warn')
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        function()
    torch.cuda.set_sync_debug_mode('default')
    return sum('synchroniz' in str(w.message) for w in seen)

def timed(work:Passes, args)->tuple[list[float],float|None]:
    "Return seconds a step and the peak GiB (None on a CPU)."
    on_gpu = args.device=='cuda'
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    for _ in range(3): work.step()
    seconds = interleave(dict(step=work.step), args.repeats, synchronize)['step']
    return seconds, torch.cuda.max_memory_allocated()/2**30 if on_gpu else None

def expensive(work:Passes, n:int=10)->list[tuple]:
    "Return name, milliseconds and calls of the kernels that take longest in a step."
    with torch.profiler.profile() as profile:
        work.step()
        synchronize()
    def cost(event):
        return event.self_device_time_total or event.self_cpu_time_total
    events = sorted(profile.key_averages(), key=cost, reverse=True)[:n]
    return [(e.key[:80], round(cost(e)/1e3, 3), e.count) for e in events]

def beside_dense(label:str, name:str, method:str, now:tuple, dense:tuple)->list[dict]:
    "Return speed and memory as ratios to the dense model; goals hold for 1B."
    (tokens, memory), large = now, name=='llama_1b'
    goal = {'lost': 1.7}.get(method, 1.9) if large and method!='cola_recompute' else None
    rows = [row(f'{label}: times faster than dense', tokens/dense[0], goal)]
    if memory and dense[1]:
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
        if peak:
            rows.append(row(f'{label}: MFU, %', 100*tokens*work.flops/peak, goal))
        if method=='dense':
            dense[name, compiled] = tokens, memory
            rows[-1] |= dict(model=name, compiled=compiled, dense=dense[name, compiled])
        elif (name, compiled) in dense:
            rows += beside_dense(label, name, method, (tokens, memory), dense[name, compiled])
        if memory:
            rows.append(row(f'{label}: peak memory, GiB', memory))
            rows.append(row(f'{label}: reads that the host waits for', waits(work.step)))
        kernels = expensive(work)
        what = f'{label}: ms of the most expensive kernel in a step'
        rows.append(row(what, kernels[0][1], kernels=kernels))
    if method=='lowrank':
        what = f'{name} {method}: exact update, in forward and backward passes'
        rows.append(row(what, work.exact_in_passes(max(3, args.repeats//3)), 2.5, higher=False))
    return rows

def loader_row(batch:int)->dict:
    "Time the loader."
    stream = TrainStream(TextSource.docstrings(), load_tokenizer('bytes'), batch, 256)
    next(stream)
    ms = 1e3*median([seconds_of(lambda: next(stream), synchronize) for _ in range(20)])
    return row('loader, bytes of the embedded corpus: ms a batch', ms)

def on_both(f, device:str)->float:
    "Return the largest relative difference of what `f` computes on the device and on the CPU."
    there, here = f(device), f('cpu')
    return max(float((x.cpu().double()-y.double()).norm()/y.double().norm())
               for x,y in zip(there, here))

def loss_and_gradients(kind:str):
    def f(device):
        torch.manual_seed(0)
        model = build_model('llama_9m')
        if kind!='dense': factorize(model, FactorizeConfig(attn_rank=32, mlp_rank=32,
                                                           **METHODS[kind]))
        x = torch.randint(0, 1000, (2, 64)).to(device)
        loss = LMLoss(model.to(device))
        nats, _ = loss(x, x)
        nats.backward()
        return [nats.detach()[None], *(p.grad for p in model.parameters())]
    return f

def exact_steps(device):
    torch.manual_seed(0)
    jobs = []
    for m,n in [(64, 48)]*3+[(48, 96)]*2:
        B = torch.linalg.qr(torch.randn(m, 8))[0]
        A = torch.linalg.qr(torch.randn(n, 8))[0].T
        directions = .1*torch.randn(m, 8), .1*torch.randn(8, n)
        jobs.append((*(x.contiguous().to(device) for x in (B, A, *directions)), .01))
    return [b@a for b,a in exact_updates(jobs)]

def muon_steps(device):
    torch.manual_seed(0)
    return orthogonalize([torch.randn(s, dtype=torch.float64).to(device)
                          for s in ((64, 8), (8, 64), (64, 8), (32, 32))])

def device_rows(args)->list[dict]:
    "Compare the device with the CPU."
    torch.backends.cuda.matmul.allow_tf32 = False
    cases = {f'loss and gradients, {kind}': loss_and_gradients(kind) for kind in METHODS}
    cases |= {'exact updates': exact_steps, 'orthogonal steps, float64': muon_steps}
    return [row(f'difference from the CPU: {name}', on_both(f, args.device), 1e-4, higher=False)
            for name,f in cases.items()]

def decode_part(name:str, batch:int, args)->list[dict]:
    args.prompt, args.tokens, args.methods = 256, 32, list(decode.METHODS)
    with torch.no_grad():
        return decode.rows_of(name, batch, args)

def parse():
    p = flag_parser(__doc__)
    models = ['llama_60m', 'llama_130m', 'llama_350m', 'llama_1b']
    p.add_argument('--models', nargs='+', default=models)
    p.add_argument('--methods', nargs='+', default=list(METHODS))
    p.add_argument('--device', default='cuda')
    p.add_argument('--dtype', default='bfloat16', choices=('bfloat16', 'float32'))
    p.add_argument('--batch', type=int, default=64, help='sequences of 256 tokens')
    p.add_argument('--compile', action='store_true', help='each method eager and compiled')
    p.add_argument('--batches', type=int, nargs='+', default=[1, 32], help='decoding batches')
    p.add_argument('--budget', type=float, default=480, help='seconds after which no part begins')
    return p.parse_args()

def parts_of(args, peak:float|None, done:list[dict])->dict:
    "Return name -> function that measures a part."
    dense = {(r['model'], r['compiled']): r['dense'] for r in done if 'dense' in r}
    parts = {'device': lambda: device_rows(args)}
    for name in args.models:
        for method in args.methods:
            def train(name=name, method=method):
                return measure(name, method, args, dense, peak)
            parts[f'train {name} {method}'] = train
    for name in args.models:
        for batch in args.batches:
            def generate(name=name, batch=batch):
                return decode_part(name, batch, args)
            parts[f'decode {name} {batch}'] = generate
    return parts | {'loader': lambda: [loader_row(args.batch)]}

def measured(name:str, part, batch:int)->list[dict]:
    "Measure one part."
    try: rows = part()
    except torch.OutOfMemoryError as e:
        what = f'{name}: out of memory at batch {batch}'
        rows = [row(what, float('nan'), why=str(e).splitlines()[0])]
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return [dict(r, part=name) for r in rows]

def main():
    args, start = parse(), time.monotonic()
    gpu = torch.cuda.get_device_name() if args.device=='cuda' else ''
    peak = next((v for k,v in PEAKS.items() if k in gpu), None)
    name = 'gpu' if gpu else 'gpu_on_cpu'
    path = Path(args.out) if args.out else HERE/'results'/f'{name}.json'
    rows = json.loads(path.read_text())['rows'] if path.is_file() else []
    parts = parts_of(args, peak, rows)
    left = [part for part in parts if part not in {r['part'] for r in rows}]
    while left and time.monotonic()-start < args.budget:
        part = left.pop(0)
        rows += measured(part, parts[part], args.batch)
        settings = dict(dtype=args.dtype, batch=args.batch, compiled=args.compile, left=left)
        finish(name, rows, args.out, **settings) # what is measured is kept
    print(f'left: {", ".join(left)}; run the command again' if left else 'all parts measured')

if __name__=='__main__': main()
