"""Shim until 03_loro_fast lands."""
from .loro import *
from .loro import exact_update as fast_exact_update
