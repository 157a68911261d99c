"""Shim until 42_nan_guard lands."""
from .training import SKIPS
class NanGuard:
    "Shim."
    order = 5
    def __init__(self, on_nan="stop"): self.on_nan = on_nan
