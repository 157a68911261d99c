"""The study of notebook 22: singular values of W while it is trained, method by method. It can be stopped and goes on with the next method.

    python studies/spectra.py                       every method that has no result yet
    python studies/spectra.py --methods dense,loro  only these

From the top of a checkout, with C4's files (or the sample of it) in `../shared/data/c4/en`; without them it reads the documentation that
Python carries. The model, the budget and the rates are those of notebook 20. Results go to nbs/results/spectra.json."""
import argparse, json, math, sys, tempfile, time
from dataclasses import asdict
from glob import glob
from pathlib import Path
import torch
from torch import Tensor
from lowrank_nb.cola import CoLALinear
from lowrank_nb.compare import Run, Setting, data_hash
from lowrank_nb.factorize import block_linears
from lowrank_nb.lowrank import LowRankLinear, pick
from lowrank_nb.run_c4 import build, check_all, commit, parser
from lowrank_nb.training import Callback, Where, read_metrics

OUT = Path('nbs/results/spectra.json')
RATES = dict(dense=.002, lowrank=.002, loro=.02, lost=.002, cola=.004, loro_plain=.02)      # the best ones of notebook 20; LORO's for loro_plain too, not tuned
STEPS, EVERY, OFTEN, KS = 600, 50, 10, (8,32)
SHOWN = [f'model.layers.{l}' for l in ('0.self_attn.q_proj','2.self_attn.q_proj','0.mlp.gate_proj','2.mlp.down_proj')]    # whole spectra of these
SPECTRA = 0, 50, 100, 200, 400, 600                                                                                       # after these updates

# ## What is measured

def effective_rank(s:Tensor)->float: # singular values -> 1 .. len(s)
    "exp of the entropy of the normalized squares: how many directions share the energy."
    p = s.double()**2; p = p/p.sum()
    return math.exp(-torch.special.xlogy(p, p).sum())

def stable_rank(s:Tensor)->float:
    "Sum of the squares over the largest one."
    s = s.double()
    return float((s**2).sum()/s.max()**2)

def principal_angles(U:Tensor, V:Tensor)->Tensor: # orthonormal columns, (n, k) each -> (k,) degrees, ascending
    "Angles between two subspaces. Small ones from their sines: the arc cosine has no digits near 1."
    cos = torch.linalg.svdvals(U.T@V).clamp(max=1)
    sin = torch.linalg.svdvals(V - U@(U.T@V)).flip(0).clamp(max=1)
    return torch.where(cos**2 > .5, sin.asin(), cos.acos()).rad2deg()

def marchenko_pastur(s:Tensor, m:int, n:int, std:float)->Tensor:
    "Density of the singular values of an m x n matrix of independent entries, as m and n grow with m/n fixed."
    a, b, k = std*abs(m**.5-n**.5), std*(m**.5+n**.5), min(m,n)
    return ((s**2-a**2).clamp(min=0)*(b**2-s**2).clamp(min=0)).sqrt()/(math.pi*std**2*k*s)

def imbalance(layer)->float:
    "How far B'B is from AA', relative to them: 0 for balanced factors."
    P, Q = (layer.B.T@layer.B).double(), (layer.A@layer.A.T).double()
    return float((P-Q).norm()/(P.norm()*Q.norm()).sqrt())

def weight_of(layer)->Tensor: # (out, in)
    "The W that a layer applies. CoLA has none: its derivative at 0, B A / 2, stands for it."
    if isinstance(layer, CoLALinear): return (layer.B@layer.A)/2
    return layer.dense_weight() if isinstance(layer, LowRankLinear) else layer.weight

# ## Recording

class Spectra(Callback):
    "Keeps spectra, ranks and angles of every linear layer of the blocks."
    order = 25                         # before the evaluation
    def __init__(self, names): self.names,self.start,self.last,self.ranks,self.values,self.balance = names,{},{},{},{},{n: [] for n in SHOWN}
    def before_fit(self, t): self.after_update(t)

    @torch.no_grad()
    def after_update(self, t):
        layers = {n: t.model.get_submodule(n) for n in self.names}
        if t.step%OFTEN==0:
            for n in SHOWN:
                if isinstance(layers[n], LowRankLinear): self.balance[n].append([t.step, float(f'{imbalance(layers[n]):.3g}')])
        if t.step%EVERY==0:
            for n,l in layers.items(): self.record(n, l, t.step)

    def record(self, n, layer, step):
        U,s,Vh = torch.linalg.svd(weight_of(layer).double(), full_matrices=False)
        r = min(len(s), layer.rank + len(getattr(layer, 'columns', ()))) if isinstance(layer, LowRankLinear) else len(s)    # the rank that W can have
        now = U[:,:max(KS)], Vh[:max(KS)].T
        self.start.setdefault(n, now); old = self.last.get(n, now); self.last[n] = now
        angles = [round(float(principal_angles(a[:,:k], b[:,:k]).mean()),1) for then in (self.start[n],old) for k in KS for a,b in zip(then, now)]
        size = [effective_rank(s), stable_rank(s), s.norm(), s[0]/s[r-1], (s[r:].max() if r<len(s) else 0)/s[0]]     # the last: what lies beyond the rank
        self.ranks.setdefault(n, []).append([step, *(float(f'{float(x):.4g}') for x in size), *angles])
        if n in SHOWN and step in SPECTRA: self.values.setdefault(n, {})[step] = self.spectra(layer, s[:r])

    def spectra(self, layer, s):
        d = dict(W=s, A=torch.linalg.svdvals(layer.A.double()), B=torch.linalg.svdvals(layer.B.double())) if isinstance(layer, CoLALinear) else dict(W=s)
        return {k: [float(f'{x:.3g}') for x in v.tolist()] for k,v in d.items()}

COLUMNS = ['update', 'effective rank', 'stable rank', 'norm', 'condition', 'beyond', *(f'{side} {k} {since}' for since in ('start','before') for k in KS for side in ('left','right'))]

def one(method:str, s:Setting)->dict:
    "Train and record."
    flags = Run(method, RATES[method], steps=STEPS).flags(s); args = parser().parse(flags)
    with tempfile.TemporaryDirectory() as d:
        args.save_dir = d; t,_ = build(args, check_all(args), Where(), Path(d))
        rec = Spectra([*block_linears(t.model)] or [n for n,m in t.model.named_modules() if isinstance(m, LowRankLinear)])
        t.callbacks = sorted([*t.callbacks, rec], key=lambda c: c.order)
        start = time.perf_counter(); t.fit()
        loss = read_metrics(d,'eval')[-1]['loss']
    return dict(command='run_c4.py '+' '.join(flags), commit=commit(), device=str(t.where.device), threads=torch.get_num_threads(), tokens=t.tokens_seen,
                seconds=round(time.perf_counter()-start,1), loss=round(loss,4), ranks=rec.ranks, spectra=rec.values, imbalance={k: v for k,v in rec.balance.items() if v})

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--methods', default=','.join(RATES)); a = p.parse_args(); torch.set_num_threads(1)
    c4 = '../shared/data/c4/en/c4-{}.*.json.gz'
    s = Setting(data=c4.format('train'), val_data=c4.format('validation')) if glob(c4.format('train')) else Setting()
    ident = dict(setting=asdict(s), data=data_hash(s), columns=COLUMNS)
    kept = json.loads(OUT.read_text()) if OUT.exists() else dict(ident, methods={})
    if any(kept[k]!=v for k,v in ident.items()): sys.exit(f'{OUT}: holds results of another setting or other data; move it away')
    for m in a.methods.split(','):
        if pick(m, RATES, '--methods') in kept['methods']: continue
        kept['methods'][m] = one(m, s)
        new = OUT.with_suffix('.tmp'); new.write_text(json.dumps(kept, separators=(',',':'))+'\n'); new.replace(OUT)
        print(f"{m}: loss {kept['methods'][m]['loss']}, {kept['methods'][m]['seconds']} s", flush=True)
