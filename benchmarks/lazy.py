"""The lazy update of a model's factors, beside a Python loop over tensors and fused AdamW."""
import math

import torch

from common import NEVER, finish, flag_parser, interleave, medians, ratio_row
from lowrank_nb.factorize import FactorizeConfig, factorize
from lowrank_nb.loro import lazy_update
from lowrank_nb.models import build_model
from lowrank_nb.optimizers import LOROAdamW, param_groups

class Loop:
    "Step by the readable form: moments, direction and `lazy_update`, one pair after the other."
    betas, eps = (.9, .999), 1e-6

    def __init__(self, pairs, lr=1e-3, scale=.25):
        self.pairs = pairs
        self.lr = lr
        self.scale = scale
        self.t = 0
        self.state = {}

    def direction(self, p):
        "Update the moments of a factor and return Adam's direction."
        if p not in self.state:
            self.state[p] = torch.zeros_like(p), torch.zeros_like(p)
        m, v = self.state[p]
        m.mul_(self.betas[0]).add_(p.grad, alpha=1-self.betas[0])
        v.mul_(self.betas[1]).addcmul_(p.grad, p.grad, value=1-self.betas[1])
        return m/(v.sqrt()+self.eps)

    @torch.no_grad()
    def step(self):
        self.t += 1
        size = self.lr*math.sqrt(1-self.betas[1]**self.t)/(1-self.betas[0]**self.t)
        for B,A in self.pairs:
            new = lazy_update(B, A, self.direction(B), self.direction(A), size, self.scale)
            for p,x in zip((B, A), new):
                p.copy_(x)

def candidates(name:str, rank:int)->dict:
    "Return the three steps on the factors of one model."
    config = FactorizeConfig(attn_rank=rank, mlp_rank=rank)
    model = factorize(build_model(name), config)
    groups = [g for g in param_groups(model) if g['factors']]
    factors = groups[0]['params']
    for p in factors:
        p.grad = torch.randn_like(p)*1e-3
    ours = LOROAdamW(groups, exact_every=NEVER, refresh='all', refresh_every=NEVER)
    loop = Loop(list(zip(factors[::2], factors[1::2])))
    fused = torch.optim.AdamW(factors, lr=1e-3, fused=True)
    return dict(loop=loop.step, ours=ours.step, adamw=fused.step)

def main():
    args, rows = flag_parser(__doc__).parse_args(), []
    for name,rank in (('llama_60m', 128), ('llama_130m', 256)):
        steps = candidates(name, rank)
        for t in args.threads:
            torch.set_num_threads(t)
            s = interleave(steps, args.repeats)
            where = f'{name} r={rank}, {t} threads'
            rows.append(ratio_row(f'{where}: times faster than the loop', s['loop'], s['ours'], 4,
                                  seconds=medians(s)))
            rows.append(ratio_row(f'{where}: time over fused AdamW', s['ours'], s['adamw'], 1.1,
                                  higher=False))
    finish('lazy', rows, args.out, threads=args.threads)

if __name__=='__main__': main()
