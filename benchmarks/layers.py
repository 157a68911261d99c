"""Forward and backward of the layers against `nn.Linear`, as a share of the speed-up that their FLOPs allow, and the activations they keep."""
import torch
from torch import nn
from common import command, interleave, parser, ratio, row, save, show
from lowrank_nb.cola import CoLALinear
from lowrank_nb.lost import LoSTLinear
from lowrank_nb.lowrank import LowRankLinear

SHAPES = {'llama_60m r=128': (128, ((512,512,4),(1376,512,2),(512,1376,1))), 'llama_130m r=256': (256, ((768,768,4),(2048,768,2),(768,2048,1)))}   # (out, in, how many in a block)

class Naive(nn.Module):
    "The readable forms: `x @ A.T @ B.T`, and LoST with fancy indexing."
    def __init__(self, layer): super().__init__(); self.l = layer
    def forward(self, x):
        l, low = self.l, x @ self.l.A.T @ self.l.B.T
        return l.gamma*low + (1-l.gamma)*(x[..., l.columns] @ l.S.T) if isinstance(l, LoSTLinear) else low

def layers(out:int, inn:int, r:int)->dict: # name -> (layer, FLOP share of dense)
    lin, k1, k5 = nn.Linear(inn, out, bias=False), max(1,int(.01*inn)), max(1,int(.05*inn))
    low, share = LowRankLinear.from_linear(lin, r), r*(out+inn)/(out*inn)
    l1,l5 = (LoSTLinear.from_linear(lin, r, sparsity=s) for s in (.01,.05))
    return dict(dense=(lin,1.), lowrank=(low,share), readable=(Naive(LowRankLinear.from_linear(lin,r)),share), cola=(CoLALinear.from_linear(lin,r),share), lost1=(l1,share+k1/inn), lost5=(l5,share+k5/inn),
                lost5_readable=(Naive(LoSTLinear.from_linear(lin, r, sparsity=.05)),share+k5/inn))

def bare_products(x, g, r:int):
    "The six products of a low-rank layer's forward and backward pass and nothing else, into memory that is there: what the machine's own matrix product leaves of the ideal."
    (t,inn),out = x.shape, g.shape[1]; x = x.detach(); A,B = torch.randn(r, inn), torch.randn(out, r)
    h,y,dh,dB,dx,dA = (torch.empty(*s) for s in ((t,r),(t,out),(t,r),(out,r),(t,inn),(r,inn)))
    def run(): torch.mm(x, A.T, out=h); torch.mm(h, B.T, out=y); torch.mm(g, B, out=dh); torch.mm(g.T, h, out=dB); torch.mm(dh, A, out=dx); torch.mm(dh.T, x, out=dA)
    return run

def kept(f, x)->int: # bytes that autograd keeps beside x and parameters
    seen = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (seen.setdefault(t.untyped_storage().data_ptr(), t), t)[1], lambda t: t): f(x)
    own = {p.untyped_storage().data_ptr() for p in f.parameters()} | {x.untyped_storage().data_ptr()}
    return sum(t.untyped_storage().nbytes() for k,t in seen.items() if k not in own)

if __name__=='__main__':
    p = parser(__doc__); p.add_argument('--tokens', type=int, default=1024); a = p.parse_args(); rows = []
    goals = dict(lowrank=90, cola=88, lost1=82, lost5=82)
    for model,(r,shapes) in SHAPES.items():
        for t in a.threads:
            torch.set_num_threads(t); total, ideal = {}, {}
            for out,inn,many in shapes:
                ls = layers(out, inn, r); x, g = torch.randn(a.tokens, inn, requires_grad=True), torch.randn(a.tokens, out)
                def run(l):
                    x.grad = None
                    for q in l.parameters(): q.grad = None
                    l(x).backward(g)
                s = interleave({k: (lambda l=l: run(l)) for k,(l,_) in ls.items()} | {'bare products': bare_products(x, g, r)}, 2*a.repeats); ls['bare products'] = None, ls['lowrank'][1]
                for k,v in s.items(): total[k] = [o+many*e for o,e in zip(total.get(k,[0]*len(v)), v)]; ideal[k] = ideal.get(k,0)+many*ls[k][1]*out*inn
            for k in total:
                if k=='dense': continue
                v,lo,hi = (100*o*ideal[k]/ideal['dense'] for o in ratio(total['dense'], total[k]))
                rows.append(row(f'{model}, {t} threads, {k}: % of the ideal speed-up', v, goals.get(k), low=lo, high=hi, speedup=ratio(total['dense'],total[k])[0]))
    x = torch.randn(a.tokens, 512, requires_grad=True); lin = nn.Linear(512, 1376, bias=False)
    for what,l in (('eager',CoLALinear.from_linear(lin, 128)),('recompute',CoLALinear.from_linear(lin, 128, recompute=True))): rows.append(row(f'CoLA {what}: MiB kept for the backward pass beside x', kept(l, x)/2**20, a.tokens*128*4/2**20 if what=='recompute' else None, False))
    show(rows); save('layers', rows, command(), a.out, threads=a.threads, tokens=a.tokens)
