"""A plugin, SLTrain (Han et al. 2024): W = s B A + S, where S has values in a random set of places.

The set is drawn once and never changes. The density of S is `--lost_sparsity` and s is
`--lost_gamma`."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowrank_nb.factorize import FactorizeConfig, register_kind
from lowrank_nb.lowrank import LowRankLinear

class SLTrainLinear(LowRankLinear):
    "Add trained values in fixed random places to a scaled low-rank weight."
    def __init__(self, *args, places:int, scale:float, **kwargs):
        super().__init__(*args, **kwargs)
        self.scale = scale
        self.S = nn.Parameter(self.A.new_zeros(places))
        support = torch.arange(places, device=self.A.device) # places in the flattened W
        self.register_buffer("support", support)

    def dense_weight(self)->Tensor: # (out_features, in_features)
        W = self.scale*(self.B @ self.A)
        values = self.S.to(W.dtype) # under autocast W is narrower than S
        return W.flatten().index_add(0, self.support, values).view(W.shape)

    def forward(self, x:Tensor)->Tensor:
        return F.linear(x, self.dense_weight(), self.bias)

    def flops(self)->int: # per token; B A is made once per batch
        return 2*self.in_features*self.out_features

def make(linear:nn.Linear, rank:int, config:FactorizeConfig, grad=None)->SLTrainLinear:
    "Make a layer with B = 0, and A and S uniform in +-1/sqrt(in_features)."
    places = int(config.sparsity*linear.weight.numel())
    layer = SLTrainLinear.from_linear(
        linear, rank, init="const_0", places=places, scale=config.gamma)
    if linear.weight.is_meta: return layer
    chosen = torch.randperm(linear.weight.numel())[:len(layer.S)]
    layer.support.copy_(chosen.sort().values)
    bound = linear.weight.shape[1]**-.5
    nn.init.uniform_(layer.A, -bound, bound)
    nn.init.uniform_(layer.S, -bound, bound)
    return layer

register_kind("sltrain", make)
