"""One table for a GPU: training steps of 60M to 1B in bfloat16, 256 tokens a sequence, each method, with and without torch.compile; tokens/s, MFU, peak memory, exact updates, the loader.

`--device cpu --models llama_9m --dtype float32` shows that it runs."""
import gc, time
import torch
from common import command, interleave, median, parser, row, save, show
from lowrank_nb.data import TextSource, TrainStream, load_tokenizer
from lowrank_nb.evaluate import LMLoss
from lowrank_nb.factorize import FactorizeConfig, build_model, cost_report, factorize
from lowrank_nb.optimizers import LOROAdamW, param_groups

RANKS = dict(llama_9m=32, llama_60m=128, llama_130m=256, llama_350m=256, llama_1b=512)
METHODS = dict(dense=dict(kind='dense'), lowrank=dict(kind='lowrank'), cola=dict(kind='cola'), cola_recompute=dict(kind='cola', recompute=True), lost=dict(kind='lost', sparsity=.01))
PEAKS = {'H200': 989e12, 'H100': 989e12, 'A100': 312e12, 'L40': 181e12, '4090': 165e12}   # dense bfloat16 FLOP/s by the makers' data sheets

def make(name:str, method:str, a):
    "A training step of one model on random tokens, its forward and backward pass alone, and its FLOPs per token, forward and backward."
    torch.manual_seed(0); r = RANKS[name]; model = build_model(name).to(a.device)
    if method!='dense': factorize(model, FactorizeConfig(attn_rank=r, mlp_rank=r, **METHODS[method]))
    flops = 3*cost_report(model, 256)[-1]['flops']
    opt = LOROAdamW(param_groups(model), lr=1e-4, exact_every=10**9, refresh='all', refresh_every=10**9) if method=='lowrank' else torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    eager = LMLoss(model); x = torch.randint(0, model.config.vocab_size, (a.batch,256), device=a.device)
    def with_loss(run):
        def passes():
            opt.zero_grad(set_to_none=True)
            with torch.autocast(a.device, torch.bfloat16, enabled=a.dtype=='bfloat16'): s,_ = run(x, x)
            (s/x.numel()).backward()
        def step(): passes(); opt.step()
        return passes, step
    return with_loss, eager, flops, opt

def exact_in_passes(opt, passes, repeats:int)->float:
    "One exact update of every factor over one forward and backward pass: steps of both kinds on the same gradients, in turn."
    def at(every): opt.exact_every = every; opt.step()
    passes(); s = interleave(dict(lazy=lambda: at(10**9), exact=lambda: at(1), passes=passes), repeats, sync); opt.exact_every = 10**9
    return (median(s['exact'])-median(s['lazy']))/median(s['passes'])

def sync():
    if torch.cuda.is_available(): torch.cuda.synchronize()

def time_of(f)->float: sync(); start = time.perf_counter(); f(); sync(); return time.perf_counter()-start

def measure(name:str, method:str, a, base:dict, peak:float|None)->list[dict]:
    "The rows of one model under one method, eager and, where asked for, compiled; `base`: dense figures by (model, compiled), filled here."
    rows, on_gpu = [], a.device=='cuda'
    with_loss, eager, flops, opt = make(name, method, a)
    for compiled in ((False,True) if a.compile else (False,)):
        label = f'{name} {method}{" compiled" if compiled else ""}'
        if on_gpu: torch.cuda.reset_peak_memory_stats()
        passes, step = with_loss(torch.compile(eager) if compiled else eager)
        for _ in range(3): step()
        if on_gpu: torch.cuda.set_sync_debug_mode('error'); step(); torch.cuda.set_sync_debug_mode('default')    # no host synchronisation in the steady loop
        sec = interleave({'step': step}, a.repeats, sync)['step']; tokens = a.batch*256/median(sec); mem = torch.cuda.max_memory_allocated()/2**30 if on_gpu else None
        rows.append(row(f'{label}: tokens/s', tokens, low=a.batch*256/max(sec), high=a.batch*256/min(sec)))
        if peak: rows.append(row(f'{label}: MFU, %', 100*tokens*flops/peak, 45 if method=='dense' else None))
        if method=='dense': base[name,compiled] = tokens, mem
        elif (name,compiled) in base:
            rows.append(row(f'{label}: times faster than dense', tokens/base[name,compiled][0], {'lost': 1.7}.get(method, 1.9) if name=='llama_1b' and method!='cola_recompute' else None))
            if mem: rows.append(row(f'{label}: peak memory over dense', mem/base[name,compiled][1], .55 if name=='llama_1b' else None, False))
        if mem: rows.append(row(f'{label}: peak memory, GiB', mem))
        if method=='lowrank' and not compiled: rows.append(row(f'{label}: exact update, in forward and backward passes', exact_in_passes(opt, passes, max(3, a.repeats//3)), 3, False))
    return rows

if __name__=='__main__':
    p = parser(__doc__); p.add_argument('--models', nargs='+', default=['llama_60m','llama_130m','llama_350m','llama_1b']); p.add_argument('--methods', nargs='+', default=list(METHODS)); p.add_argument('--device', default='cuda')
    p.add_argument('--dtype', default='bfloat16', choices=('bfloat16','float32')); p.add_argument('--batch', type=int, default=64, help='sequences of 256 tokens'); p.add_argument('--compile', action='store_true', help='each method eager and compiled')
    a = p.parse_args(); rows, base = [], {}
    gpu = torch.cuda.get_device_name() if a.device=='cuda' else ''; peak = next((v for k,v in PEAKS.items() if k in gpu), None)
    keep = lambda: save('gpu' if gpu else 'gpu_on_cpu', rows, command(), a.out, dtype=a.dtype, batch=a.batch, compiled=a.compile)
    for name in a.models:
        for m in a.methods:
            try: rows += measure(name, m, a, base, peak)
            except torch.OutOfMemoryError as e: rows.append(row(f'{name} {m}: out of memory at batch {a.batch}', float('nan'), why=str(e).splitlines()[0]))
            keep(); gc.collect(); torch.compiler.reset()     # what is measured is kept, whatever comes after
            if gpu: torch.cuda.empty_cache()
    stream = TrainStream(TextSource.docstrings(), load_tokenizer('bytes'), a.batch, 256); next(stream)
    rows.append(row('loader, bytes of the embedded corpus: ms a batch', 1e3*median([time_of(lambda: next(stream)) for _ in range(20)])))
    show(rows); keep()
