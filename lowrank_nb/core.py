"""Shim until 00_core lands."""
import logging
from .lowrank import InputError, pick
log = logging.getLogger("lowrank_nb")
def brief(e): return (str(e).strip().splitlines() or [type(e).__name__])[0][:150]
def __getattr__(name):
    if name in ("check_positive", "check_between"):
        from . import factorize
        return getattr(factorize, name)
    raise AttributeError(name)
