"""The lazy update of all factors of a model against a Python loop over tensors and against PyTorch's fused AdamW on the same tensors."""
import math
import torch
from common import command, interleave, median, parser, ratio, row, save, show
from lowrank_nb.factorize import FactorizeConfig, build_model, factorize
from lowrank_nb.loro import lazy_update
from lowrank_nb.optimizers import LOROAdamW, param_groups

def loop_step(pairs, state, lr=1e-3, betas=(.9,.999), eps=1e-6, scale=.25):
    "The readable form: moments, direction and `lazy_update`, one pair after the other."
    state['t'] = t = state.get('t',0)+1; size = lr*math.sqrt(1-betas[1]**t)/(1-betas[0]**t)
    with torch.no_grad():
        for B,A in pairs:
            d = []
            for p in (B,A):
                m,v = state.setdefault(p, (torch.zeros_like(p),torch.zeros_like(p)))
                m.mul_(betas[0]).add_(p.grad, alpha=1-betas[0]); v.mul_(betas[1]).addcmul_(p.grad, p.grad, value=1-betas[1]); d.append(m/(v.sqrt()+eps))
            for p,new in zip((B,A), lazy_update(B, A, *d, size, scale)): p.copy_(new)

if __name__=='__main__':
    a = parser(__doc__).parse_args(); rows = []
    for name,rank in (('llama_60m',128),('llama_130m',256)):
        model = factorize(build_model(name), FactorizeConfig(attn_rank=rank, mlp_rank=rank))
        groups = [g for g in param_groups(model) if g['factors']]; ps = groups[0]['params']
        for p in ps: p.grad = torch.randn_like(p)*1e-3
        ours, fused, state = LOROAdamW(groups, exact_every=10**9, refresh='all', refresh_every=10**9), torch.optim.AdamW(ps, lr=1e-3, fused=True), {}
        pairs = list(zip(ps[::2], ps[1::2]))
        for t in a.threads:
            torch.set_num_threads(t); s = interleave(dict(loop=lambda: loop_step(pairs, state), ours=ours.step, adamw=fused.step), a.repeats)
            v,lo,hi = ratio(s['loop'], s['ours']); rows.append(row(f'{name} r={rank}, {t} threads: times faster than the loop', v, 4, low=lo, high=hi, seconds={k: median(x) for k,x in s.items()}))
            v,lo,hi = ratio(s['ours'], s['adamw']); rows.append(row(f'{name} r={rank}, {t} threads: time over fused AdamW', v, 1.1, False, low=lo, high=hi))
    show(rows); save('lazy', rows, command(), a.out, threads=a.threads)
