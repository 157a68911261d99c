"""A whole training step (forward, loss, backward, optimizer): low rank against dense with the same head and attention, and our loss against Transformers' own."""
import gc, subprocess, sys
import torch
from common import command, interleave, median, parser, ratio, row, save, show
from lowrank_nb.evaluate import LMLoss
from lowrank_nb.factorize import FactorizeConfig, build_model, cost_report, factorize
from lowrank_nb.optimizers import LOROAdamW, param_groups

RANKS = dict(llama_9m=32, llama_60m=128, llama_130m=256, llama_350m=256, llama_1b=512)
KINDS = dict(dense='dense', lowrank='lowrank', cola='cola', lost='lost')

def make(name:str, kind:str, own_loss:bool=False, compile:bool=False):
    "A training step of one model, on random tokens."
    torch.manual_seed(0); r = RANKS[name]; model = build_model(name)
    if kind!='dense': factorize(model, FactorizeConfig(kind, attn_rank=r, mlp_rank=r, sparsity=.01))
    opt = LOROAdamW(param_groups(model), lr=1e-4, exact_every=10**9, refresh='all', refresh_every=10**9) if kind=='lowrank' else torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    loss, x = LMLoss(model), torch.randint(0, 32000, (4,256))
    if compile: loss = torch.compile(loss)
    def step():
        opt.zero_grad(set_to_none=True)
        if own_loss: model(input_ids=x, labels=x, use_cache=False).loss.backward()
        else: s,n = loss(x, x); (s/n).backward()
        opt.step()
    step.flops, step.model, step.opt = cost_report(model, 256)[-1]['flops'], model, opt
    return step

def peak(name:str, kind:str, own_loss:bool)->float: # MiB, in a process of its own
    code = f'import sys; sys.path.insert(0,{str(__import__("common").here)!r}); import step as b; s = b.make({name!r},{kind!r},{own_loss!r}); s(); s(); print(__import__("common").peak_rss()/2**20)'
    return float(subprocess.run([sys.executable,'-c',code], capture_output=True, text=True, check=True).stdout)

def compiled(name:str, kind:str, threads:int, repeats:int)->dict:
    "One method's step as it is against torch.compile of model and loss; the warm-up round compiles."
    s = interleave({'eager': make(name, kind), 'compiled': make(name, kind, compile=True)}, repeats); v,lo,hi = ratio(s['eager'], s['compiled'])
    torch.compiler.reset(); gc.collect()
    return row(f'{name}, {threads} threads: {kind}, compiled step times faster than eager', v, None, low=lo, high=hi)

if __name__=='__main__':
    p = parser(__doc__); p.add_argument('--models', nargs='+', default=['llama_60m','llama_130m']); p.add_argument('--kinds', nargs='+', default=list(KINDS)); p.add_argument('--compile', action='store_true', help='measure torch.compile of each method instead, against its own eager step; to results/step_compiled.json')
    a = p.parse_args(); rows, goals = [], dict(llama_60m=1.4, llama_130m=1.45, llama_350m=1.9)
    if a.compile:
        for name in a.models:
            for t in a.threads: torch.set_num_threads(t); rows += [compiled(name, k, t, max(5, a.repeats//2)) for k in a.kinds]
        show(rows); save('step_compiled', rows, command(), a.out, threads=a.threads, tokens=1024); sys.exit()
    for name in a.models:
        for t in a.threads:
            torch.set_num_threads(t)
            steps = {k: make(name, k) for k in a.kinds}
            if 'dense' in a.kinds and t==max(a.threads) and name!='llama_350m': steps |= {f'{k}, Transformers\' loss': make(name, k, True) for k in ('dense','lowrank') if k in a.kinds}
            s = interleave(steps, a.repeats if name=='llama_9m' else max(3, a.repeats//2)); sec = {k: median(v) for k,v in s.items()}
            for k in a.kinds:
                if k=='dense': continue
                v,lo,hi = ratio(s['dense'], s[k]); rows.append(row(f'{name}, {t} threads: {k} step, times faster than dense', v, goals.get(name), low=lo, high=hi, seconds=sec, ideal=steps['dense'].flops/steps[k].flops))
            for k in ('dense','lowrank'):
                if f'{k}, Transformers\' loss' in s: v,lo,hi = ratio(s[f'{k}, Transformers\' loss'], s[k]); rows.append(row(f'{name}, {t} threads: {k} step, times faster than with Transformers\' loss', v, 1.1, low=lo, high=hi))
            del steps; gc.collect()
        if name!='llama_350m':
            for k in ('dense','lowrank'):
                for own in (True,False): rows.append(row(f'{name}: {k} step, peak MiB' + (" with Transformers' loss" if own else ''), peak(name, k, own)))
    show(rows); save('step', rows, command(), a.out, threads=a.threads, tokens=1024)
