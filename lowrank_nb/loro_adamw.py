"""Shim until 22_loro_adamw lands."""
from .optimizers import LOROAdamW, param_groups, refresh_moments, REFRESH, parts as inner_optimizers
