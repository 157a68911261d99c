"""What the server of `forked` imports and reads once, so that no check has to."""
import datasets  # noqa: F401
import matplotlib.pyplot  # noqa: F401
import nbdev.test  # noqa: F401
import pandas  # noqa: F401
import transformers.models.llama.modeling_llama  # noqa: F401

import lowrank_nb.compare_command  # noqa: F401
import lowrank_nb.run_c4  # noqa: F401
from lowrank_nb.texts import embedded_texts

embedded_texts()
