"""Shim until 10_models lands."""
from .factorize import config_dir, config_names, load_model_config, build_model
def __getattr__(name):
    if name == "fit_vocabulary":
        from . import run_c4
        return run_c4.fit_vocabulary
    raise AttributeError(name)
