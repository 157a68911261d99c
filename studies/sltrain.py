"SLTrain (Han et al. 2024): W = s B A + S, where S has values on a random set of places that never changes."
import torch, torch.nn.functional as F
from torch import nn
from lowrank_nb.factorize import register_kind
from lowrank_nb.lowrank import LowRankLinear

class SLTrainLinear(LowRankLinear):
    def __init__(self, *args, places, scale, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale, self.S = scale, nn.Parameter(self.A.new_zeros(places))
        self.register_buffer('support', torch.arange(places, device=self.A.device))     # places in the flattened W

    def dense_weight(self):
        W = self.scale*(self.B@self.A)
        return W.flatten().index_add(0, self.support, self.S.to(W.dtype)).view(W.shape)      # under autocast W is narrower than S

    def forward(self, x): return F.linear(x, self.dense_weight(), self.bias)
    def flops(self): return 2*self.in_features*self.out_features                        # a token's; B A is made once a batch

def make(linear, rank, c, grad=None): # the density is c.sparsity, the scale c.gamma
    W = linear.weight; a = W.shape[1]**-.5
    layer = SLTrainLinear.from_linear(linear, rank, init='const_0', places=int(c.sparsity*W.numel()), scale=c.gamma)
    if not W.is_meta:
        layer.support.copy_(torch.randperm(W.numel())[:len(layer.S)].sort().values)
        nn.init.uniform_(layer.A, -a, a); nn.init.uniform_(layer.S, -a, a)              # B stays 0
    return layer

register_kind('sltrain', make)
