"""Shim until 23_bf16 lands."""
from .optimizers import StochasticBF16, stochastic_round
