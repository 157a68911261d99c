"""Forward and backward of the layers beside `nn.Linear`, as a share of the speed-up that their
FLOPs allow, and the activations they keep."""
import torch
from torch import nn

from common import finish, flag_parser, interleave, ratio, row
from lowrank_nb.cola import CoLALinear
from lowrank_nb.lost import LoSTLinear
from lowrank_nb.lowrank import LowRankLinear

# model: rank, and (out, in, layers in a block)
SHAPES = {
    'llama_60m r=128': (128, ((512, 512, 4), (1376, 512, 2), (512, 1376, 1))),
    'llama_130m r=256': (256, ((768, 768, 4), (2048, 768, 2), (768, 2048, 1)))}
GOALS = dict(lowrank=90, cola=88, lost1=82, lost5=82)
BARE = 'bare products'

class Readable(nn.Module):
    "Hold the readable forms: `x @ A.T @ B.T`, and LoST with fancy indexing."
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        layer = self.layer
        low = x @ layer.A.T @ layer.B.T
        if not isinstance(layer, LoSTLinear):
            return low
        columns = x[..., layer.columns] @ layer.S.T
        return layer.gamma*low + (1-layer.gamma)*columns

def layers(out:int, n_in:int, rank:int)->dict:
    "Return name -> (layer, FLOPs as a share of dense)."
    linear = nn.Linear(n_in, out, bias=False)
    share = rank*(out+n_in)/(out*n_in)
    def lost(density):
        return LoSTLinear.from_linear(linear, rank, sparsity=density)
    def kept(density): return share + max(1, int(density*n_in))/n_in
    return dict(
        dense=(linear, 1.),
        lowrank=(LowRankLinear.from_linear(linear, rank), share),
        readable=(Readable(LowRankLinear.from_linear(linear, rank)), share),
        cola=(CoLALinear.from_linear(linear, rank), share),
        lost1=(lost(.01), kept(.01)), lost5=(lost(.05), kept(.05)),
        lost5_readable=(Readable(lost(.05)), kept(.05)))

def bare_products(x, g, rank:int):
    """Return a function of the six products of a low-rank layer's forward and backward pass, into
    existing memory: what the machine's own matrix product leaves of the ideal."""
    (tokens, n_in), out = x.shape, g.shape[1]
    x = x.detach()
    A, B = torch.randn(rank, n_in), torch.randn(out, rank)
    h = torch.empty(tokens, rank)
    dh = torch.empty(tokens, rank)
    y = torch.empty(tokens, out)
    dx = torch.empty(tokens, n_in)
    dB, dA = torch.empty(out, rank), torch.empty(rank, n_in)
    def run():
        torch.mm(x, A.T, out=h)
        torch.mm(h, B.T, out=y)
        torch.mm(g, B, out=dh)
        torch.mm(g.T, h, out=dB)
        torch.mm(dh, A, out=dx)
        torch.mm(dh.T, x, out=dA)
    return run

def forward_backward(layer, x, g):
    "Return a function that runs both passes of a layer."
    def run():
        x.grad = None
        for p in layer.parameters(): p.grad = None
        layer(x).backward(g)
    return run

def kept_bytes(layer, x)->int:
    "Return the bytes that autograd keeps beside x and the parameters."
    seen = {}
    def pack(t):
        seen.setdefault(t.untyped_storage().data_ptr(), t)
        return t
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        layer(x)
    own = {p.untyped_storage().data_ptr() for p in (x, *layer.parameters())}
    return sum(t.untyped_storage().nbytes() for k,t in seen.items() if k not in own)

def time_block(shapes, rank:int, tokens:int, repeats:int)->tuple[dict,dict]:
    "Return seconds of a block's layers by kind, run by run, and their ideal costs."
    total, ideal = {}, {}
    for out,n_in,many in shapes:
        made = layers(out, n_in, rank)
        x = torch.randn(tokens, n_in, requires_grad=True)
        g = torch.randn(tokens, out)
        steps = {k: forward_backward(layer, x, g) for k,(layer,_) in made.items()}
        steps[BARE] = bare_products(x, g, rank)
        made[BARE] = None, made['lowrank'][1]
        for k,seconds in interleave(steps, 2*repeats).items():
            before = total.get(k, [0]*len(seconds))
            total[k] = [b+many*s for b,s in zip(before, seconds)]
            ideal[k] = ideal.get(k, 0) + many*made[k][1]*out*n_in
    return total, ideal

def speed_rows(model:str, threads:int, total:dict, ideal:dict)->list[dict]:
    "Return the share of the ideal speed-up that each kind reaches."
    rows = []
    for k in total:
        if k=='dense': continue
        speedup = ratio(total['dense'], total[k])
        value, low, high = (100*s*ideal[k]/ideal['dense'] for s in speedup)
        rows.append(row(f'{model}, {threads} threads, {k}: % of the ideal speed-up', value,
                        GOALS.get(k), low=low, high=high, speedup=speedup[0]))
    return rows

def memory_rows(tokens:int)->list[dict]:
    "Return what CoLA keeps for the backward pass, with and without recomputing."
    x = torch.randn(tokens, 512, requires_grad=True)
    linear = nn.Linear(512, 1376, bias=False)
    rows = []
    for how,goal in (('eager', None), ('recompute', tokens*128*4/2**20)):
        layer = CoLALinear.from_linear(linear, 128, recompute=how=='recompute')
        what = f'CoLA {how}: MiB kept for the backward pass beside x'
        rows.append(row(what, kept_bytes(layer, x)/2**20, goal, higher=False))
    return rows

def main():
    parser, rows = flag_parser(__doc__), []
    parser.add_argument('--tokens', type=int, default=1024)
    args = parser.parse_args()
    for model,(rank,shapes) in SHAPES.items():
        for t in args.threads:
            torch.set_num_threads(t)
            rows += speed_rows(model, t, *time_block(shapes, rank, args.tokens, args.repeats))
    rows += memory_rows(args.tokens)
    finish('layers', rows, args.out, threads=args.threads, tokens=args.tokens)

if __name__=='__main__': main()
