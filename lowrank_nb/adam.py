"""Shim until 20_adam lands."""
from .optimizers import directions, correction, adam_foreach, adam_fused, adam_step, fused_agrees
