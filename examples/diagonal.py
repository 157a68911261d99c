"""A plug-in, W = B A + D: a low-rank layer with a trained diagonal beside it.

The diagonal has one number for each pair of an input and an output of the same index. It starts
at 1, so a square layer starts near the identity instead of near zero."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lowrank_nb.factorize import FactorizeConfig, register_kind
from lowrank_nb.lowrank import LowRankLinear

class DiagonalLinear(LowRankLinear):
    "Add the inputs, each times a trained number, to the outputs of the same index."
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        shorter = min(self.in_features, self.out_features)
        self.d = nn.Parameter(self.A.new_ones(shorter))

    def reset_parameters(self)->None:
        super().reset_parameters()
        nn.init.ones_(self.d)

    def forward(self, x:Tensor)->Tensor: # (..., in) -> (..., out)
        direct = self.d*x[..., :len(self.d)]
        return super().forward(x) + F.pad(direct, (0, self.out_features-len(self.d)))

    def dense_weight(self)->Tensor: # (out_features, in_features)
        D = F.pad(torch.diag(self.d), (0, self.in_features-len(self.d),
                                       0, self.out_features-len(self.d)))
        return self.product() + D

def make(linear:nn.Linear, rank:int, config:FactorizeConfig, grad=None)->DiagonalLinear:
    "Make the layer that replaces a dense one."
    return DiagonalLinear.from_linear(linear, rank, config.init or "xavier", alpha=config.alpha)

register_kind("diagonal", make)
