"""An optimizer of your own, Lion (Chen et al. 2023): steps of one size, in the direction of a sign.

It keeps one moment instead of Adam's two. Its learning rate is 3 to 10 times smaller than AdamW's,
its weight decay as much larger."""
import torch
from torch import nn
from torch.optim import Optimizer

from lowrank_nb.optimizers import OPTIMIZERS, param_groups

class Lion(Optimizer):
    "Step by the sign of a moment that is interpolated with the gradient."
    def __init__(self, params, lr:float=1e-4, betas:tuple=(0.9, 0.99), weight_decay:float=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad(): loss = closure()
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None: continue
                state = self.state[p]
                if not state: state["exp_avg"] = torch.zeros_like(p)
                m = state["exp_avg"]
                p.mul_(1-group["lr"]*group["weight_decay"])
                p.add_(torch.sign(m.lerp(p.grad, 1-b1)), alpha=-group["lr"])
                m.lerp_(p.grad, 1-b2)
        return loss

def make_lion(model:nn.Module, lr:float, weight_decay:float)->Lion:
    "Make the optimizer over a model's parameters; the groups know which of them are factors."
    return Lion(param_groups(model, weight_decay=weight_decay), lr=lr, weight_decay=weight_decay)

OPTIMIZERS["lion"] = make_lion
