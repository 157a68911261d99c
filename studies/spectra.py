"""The study of the page on spectra: singular values of W while it is trained, method by method.

    python studies/spectra.py                       every method that has no result yet
    python studies/spectra.py --methods dense,loro  only these

Run it from the top of a checkout, with C4's files (or the sample of it) in `../shared/data/c4/en`.
Without them it reads the documentation that Python carries. Model, budget and rates are those of
`c4_bytes.py`. Results go to nbs/results/spectra.json. A study that was stopped resumes with the
next method."""
import argparse
import math
import sys
import tempfile
import time
from dataclasses import asdict
from glob import glob
from pathlib import Path

import torch
from torch import Tensor, nn

from lowrank_nb.build import build
from lowrank_nb.checks import check
from lowrank_nb.cola import CoLALinear
from lowrank_nb.compare import Run, Setting, data_hash
from lowrank_nb.config import parse_flags
from lowrank_nb.core import pick
from lowrank_nb.factorize import block_linears
from lowrank_nb.files import git_commit, read_json, read_metrics, write_json
from lowrank_nb.lowrank import LowRankLinear
from lowrank_nb.process import Process
from lowrank_nb.training import Callback, Trainer

OUT = Path("nbs/results/spectra.json")
C4 = "../shared/data/c4/en/c4-{}.*.json.gz"
# The best rates of c4_bytes.py. That of loro_plain is LORO's and was not tuned.
RATES = dict(dense=.002, lowrank=.002, loro=.02, lost=.002, cola=.004, loro_plain=.02)
STEPS, EVERY, OFTEN, KS = 600, 50, 10, (8, 32)
SHOWN = [f"model.layers.{name}" for name in ( # whole spectra of these layers
    "0.self_attn.q_proj", "2.self_attn.q_proj", "0.mlp.gate_proj", "2.mlp.down_proj")]
SPECTRA = 0, 50, 100, 200, 400, 600           # after these updates
COLUMNS = ["update", "effective rank", "stable rank", "norm", "condition", "beyond"]
COLUMNS += [f"{side} {k} {since}"
            for since in ("start", "before") for k in KS for side in ("left", "right")]

# What is measured

def effective_rank(s:Tensor)->float: # singular values -> 1 to len(s)
    "Return exp of the entropy of the normalized squares: how many directions share the energy."
    energy = s.double()**2
    p = energy/energy.sum()
    return math.exp(-torch.special.xlogy(p, p).sum())

def stable_rank(s:Tensor)->float:
    "Divide the sum of the squares by the largest one."
    s = s.double()
    return float((s**2).sum()/s.max()**2)

def principal_angles(U:Tensor, V:Tensor)->Tensor: # orthonormal (n, k) each -> (k,), ascending
    """Measure the angles between two subspaces in degrees. Small angles come from their sines,
    because the arc cosine has no digits near 1."""
    cos = torch.linalg.svdvals(U.T@V).clamp(max=1)
    sin = torch.linalg.svdvals(V - U@(U.T@V)).flip(0).clamp(max=1)
    return torch.where(cos**2 > .5, sin.asin(), cos.acos()).rad2deg()

def marchenko_pastur(s:Tensor, m:int, n:int, std:float)->Tensor:
    """Return the density of the singular values of an m x n matrix of independent entries, as m
    and n grow with m/n fixed."""
    a = std*abs(m**.5-n**.5)
    b = std*(m**.5+n**.5)
    k = min(m, n)
    inside = (s**2-a**2).clamp(min=0)*(b**2-s**2).clamp(min=0)
    return inside.sqrt()/(math.pi*std**2*k*s)

def imbalance(layer:LowRankLinear)->float:
    "Measure how far B'B is from AA', relative to them: 0 for balanced factors."
    P = (layer.B.T@layer.B).double()
    Q = (layer.A@layer.A.T).double()
    return float((P-Q).norm()/(P.norm()*Q.norm()).sqrt())

def weight_of(layer:nn.Module)->Tensor: # (out, in)
    "Return the W that a layer applies. CoLA has none: its derivative at 0, B A / 2, replaces it."
    if isinstance(layer, CoLALinear):
        return (layer.B@layer.A)/2
    return layer.dense_weight() if isinstance(layer, LowRankLinear) else layer.weight

def largest_rank(layer:nn.Module, full:int)->int:
    "Return the rank that W can have: that of the factors plus LoST's columns."
    if not isinstance(layer, LowRankLinear):
        return full
    return min(full, layer.rank + len(getattr(layer, "columns", ())))

def digits(x:float, n:int)->float:
    return float(f"{float(x):.{n}g}")

# Recording

class Spectra(Callback):
    "Record spectra, ranks and angles of every linear layer of the blocks."
    order = 25 # before the evaluation
    def __init__(self, names:list[str]):
        self.names, self.start, self.last = names, {}, {}
        self.ranks = {}
        self.values = {}
        self.balance = {name: [] for name in SHOWN}

    def before_fit(self, trainer:Trainer): self.after_update(trainer)

    @torch.no_grad()
    def after_update(self, trainer:Trainer):
        layers = {name: trainer.model.get_submodule(name) for name in self.names}
        if trainer.step%OFTEN==0:
            for name in SHOWN:
                if isinstance(layers[name], LowRankLinear):
                    self.balance[name].append([trainer.step, digits(imbalance(layers[name]), 3)])
        if trainer.step%EVERY==0:
            for name,layer in layers.items():
                self.record(name, layer, trainer.step)

    def record(self, name:str, layer:nn.Module, step:int):
        "Append one row of ranks and angles, and the whole spectrum of a shown layer."
        U, s, Vh = torch.linalg.svd(weight_of(layer).double(), full_matrices=False)
        r = largest_rank(layer, len(s))
        beyond = s[r:].max() if r<len(s) else 0
        size = [effective_rank(s), stable_rank(s), s.norm(), s[0]/s[r-1], beyond/s[0]]
        angles = self.angles(name, (U[:,:max(KS)], Vh[:max(KS)].T))
        row = [step, *(digits(x, 4) for x in size), *angles]
        self.ranks.setdefault(name, []).append(row)
        if name in SHOWN and step in SPECTRA:
            self.values.setdefault(name, {})[step] = spectra(layer, s[:r])

    def angles(self, name:str, now:tuple[Tensor,Tensor])->list[float]:
        "Average the angles to the first and to the previous singular vectors, left and right."
        start = self.start.setdefault(name, now)
        last = self.last.get(name, now)
        self.last[name] = now
        pairs = [(old[:,:k], new[:,:k])
                 for then in (start, last) for k in KS for old,new in zip(then, now)]
        return [round(float(principal_angles(*pair).mean()), 1) for pair in pairs]

def spectra(layer:nn.Module, s:Tensor)->dict[str,list[float]]:
    "List the singular values of W, and of CoLA's factors."
    values = dict(W=s)
    if isinstance(layer, CoLALinear):
        values |= {k: torch.linalg.svdvals(getattr(layer, k).double()) for k in "AB"}
    return {k: [digits(x, 3) for x in v.tolist()] for k,v in values.items()}

# The runs

def measure(method:str, setting:Setting)->dict:
    "Train one method and record its spectra."
    flags = Run(method, RATES[method], steps=STEPS).flags(setting)
    with tempfile.TemporaryDirectory() as d:
        trainer = build(check(parse_flags(flags)), Process(), Path(d))
        recorder = Spectra(linears_of(trainer.model))
        trainer.callbacks = sorted([*trainer.callbacks, recorder], key=lambda c: c.order)
        start = time.perf_counter()
        trainer.fit()
        seconds = time.perf_counter() - start
        loss = read_metrics(d, "eval")[-1]["loss"]
    return dict(
        command=" ".join(["run_c4.py", *flags]), commit=git_commit(),
        device=str(trainer.process.device), threads=torch.get_num_threads(),
        tokens=trainer.tokens_seen, seconds=round(seconds, 1), loss=round(loss, 4),
        ranks=recorder.ranks, spectra=recorder.values,
        imbalance={k: v for k,v in recorder.balance.items() if v})

def linears_of(model:nn.Module)->list[str]:
    "Name the linear layers of the blocks, dense or factorized."
    factorized = [n for n,m in model.named_modules() if isinstance(m, LowRankLinear)]
    return list(block_linears(model)) or factorized

def main()->None:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--methods", default=",".join(RATES), help="of " + ", ".join(RATES))
    methods = [pick(m, RATES, "--methods") for m in p.parse_args().methods.split(",")]
    torch.set_num_threads(1)
    files = dict(data=C4.format("train"), val_data=C4.format("validation"))
    setting = Setting(**files) if glob(files["data"]) else Setting()
    origin = dict(setting=asdict(setting), data=data_hash(setting), columns=COLUMNS)
    kept = read_json(OUT) or dict(origin, methods={})
    if {k: kept[k] for k in origin}!=origin:
        sys.exit(f"{OUT}: has results of another setting or other data; expected no such file")
    for m in methods:
        if m in kept["methods"]: continue
        kept["methods"][m] = result = measure(m, setting)
        write_json(OUT, kept, indent=None)
        print(f"{m}: loss {result['loss']}, {result['seconds']} s", flush=True)

if __name__=="__main__": main()
