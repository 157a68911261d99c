"""LORO, CoLA and LoST: language models that are low-rank from the first step of pre-training.

`import lowrank_nb` registers the checkpoints of this package with Transformers."""
__version__ = "0.2.0"

from .checkpoints import LowRankConfig
from .cola import CoLALinear
from .core import InputError
from .costs import cost_report
from .data import TextSource, TrainStream, eval_batches, eval_rows, load_tokenizer
from .evaluate import evaluate
from .export import export, import_published
from .factorize import FactorizeConfig, factorize, merge, register_kind
from .lost import LoSTLinear
from .lowrank import LowRankLinear
from .models import build_model, load_model_config
from .optimizers import LOROAdamW, make_optimizer, param_groups, refresh_moments
from .schedules import make_schedule
from .sltrain import SLTrainLinear

__all__ = [
    "CoLALinear", "FactorizeConfig", "InputError", "LOROAdamW", "LoSTLinear", "LowRankConfig",
    "LowRankLinear", "SLTrainLinear", "TextSource", "TrainStream", "build_model",
    "cost_report", "eval_batches", "eval_rows", "evaluate", "export", "factorize",
    "import_published", "load_model_config", "load_tokenizer", "make_optimizer", "make_schedule",
    "merge", "param_groups", "refresh_moments", "register_kind",
]
