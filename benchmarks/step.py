"""A whole training step (forward, loss, backward, optimizer): low rank beside dense with the same
head and attention, and our loss beside Transformers' own."""
import gc
import subprocess
import sys

import torch

from common import (HERE, NEVER, RANKS, finish, flag_parser, interleave, medians, ratio_row, row)
from lowrank_nb.costs import cost_report
from lowrank_nb.evaluate import LMLoss
from lowrank_nb.factorize import FactorizeConfig, factorize
from lowrank_nb.models import build_model
from lowrank_nb.optimizers import LOROAdamW, param_groups

KINDS = 'dense', 'lowrank', 'cola', 'lost'
GOALS = dict(llama_60m=1.4, llama_130m=1.45, llama_350m=1.9)
THEIRS = "{}, Transformers' loss"

class Step:
    "Make training steps of one model, on random tokens."
    def __init__(self, name:str, kind:str, own_loss:bool=False, compiled:bool=False):
        torch.manual_seed(0)
        self.model = build_model(name)
        rank = RANKS[name]
        self.own_loss = own_loss
        config = FactorizeConfig(kind, attn_rank=rank, mlp_rank=rank, sparsity=.01)
        if kind!='dense':
            factorize(self.model, config)
        self.opt = optimizer_for(kind, self.model)
        self.tokens = torch.randint(0, 32000, (4, 256))
        self.flops = cost_report(self.model, 256)[-1]['flops']
        self.loss = LMLoss(self.model)
        if compiled:
            self.loss = torch.compile(self.loss)

    def mean_loss(self):
        if self.own_loss:
            return self.model(input_ids=self.tokens, labels=self.tokens, use_cache=False).loss
        nats, n = self.loss(self.tokens, self.tokens)
        return nats/n

    def __call__(self):
        self.opt.zero_grad(set_to_none=True)
        self.mean_loss().backward()
        self.opt.step()

def optimizer_for(kind:str, model):
    "Return LORO's AdamW without exact steps for factors, else fused AdamW."
    if kind!='lowrank':
        return torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    groups = param_groups(model)
    return LOROAdamW(groups, lr=1e-4, exact_every=NEVER, refresh='all', refresh_every=NEVER)

PEAK = '''import sys
sys.path.insert(0, {here!r})
import torch
from lowrank_nb.process import peak_memory
from step import Step
step = Step({name!r}, {kind!r}, {own!r})
step()
step()
print(peak_memory(torch.device('cpu'))/2**20)'''

def peak(name:str, kind:str, own_loss:bool)->float:
    "Return the peak MiB of two steps in a process of its own."
    code = PEAK.format(here=str(HERE), name=name, kind=kind, own=own_loss)
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return float(said.stdout)

def compiled_row(name:str, kind:str, threads:int, repeats:int)->dict:
    "Compare a step with torch.compile of model and loss; the warm-up round compiles."
    steps = dict(eager=Step(name, kind), compiled=Step(name, kind, compiled=True))
    s = interleave(steps, repeats)
    torch.compiler.reset()
    gc.collect()
    what = f'{name}, {threads} threads: {kind}, compiled step times faster than eager'
    return ratio_row(what, s['eager'], s['compiled'])

def rows_of(name:str, threads:int, kinds:list, with_theirs:bool, repeats:int)->list[dict]:
    "Time the steps of one model."
    steps = {k: Step(name, k) for k in kinds}
    for k in ('dense', 'lowrank'):
        if with_theirs and k in kinds:
            steps[THEIRS.format(k)] = Step(name, k, own_loss=True)
    s = interleave(steps, repeats)
    where = f'{name}, {threads} threads'
    rows, seconds = [], medians(s)
    for k in kinds:
        if k=='dense': continue
        ideal = steps['dense'].flops/steps[k].flops
        rows.append(ratio_row(f'{where}: {k} step, times faster than dense', s['dense'], s[k],
                              GOALS.get(name), seconds=seconds, ideal=ideal))
    for k in ('dense', 'lowrank'):
        theirs = THEIRS.format(k)
        what = f"{where}: {k} step, times faster than with Transformers' loss"
        if theirs in s:
            rows.append(ratio_row(what, s[theirs], s[k], 1.1))
    return rows

def peak_rows(name:str)->list[dict]:
    "Measure the memory of a step with either loss."
    rows = []
    for kind in ('dense', 'lowrank'):
        for own in (True, False):
            what = f'{name}: {kind} step, peak MiB' + (" with Transformers' loss" if own else '')
            rows.append(row(what, peak(name, kind, own)))
    return rows

def main():
    parser, rows = flag_parser(__doc__), []
    parser.add_argument('--models', nargs='+', default=['llama_60m', 'llama_130m'])
    parser.add_argument('--kinds', nargs='+', default=list(KINDS))
    parser.add_argument('--compile', action='store_true', help='measure torch.compile of each '
                        'method beside its own eager step; to results/step_compiled.json')
    args = parser.parse_args()
    for name in args.models:
        for t in args.threads:
            torch.set_num_threads(t)
            few = max(5 if args.compile else 3, args.repeats//2)
            if args.compile:
                rows += [compiled_row(name, k, t, few) for k in args.kinds]
            else:
                last = t==max(args.threads) and name!='llama_350m' and 'dense' in args.kinds
                repeats = args.repeats if name=='llama_9m' else few
                rows += rows_of(name, t, args.kinds, last, repeats)
                gc.collect()
        if not args.compile and name!='llama_350m':
            rows += peak_rows(name)
    results = 'step_compiled' if args.compile else 'step'
    finish(results, rows, args.out, threads=args.threads, tokens=1024)

if __name__=='__main__': main()
