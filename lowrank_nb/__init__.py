"""LORO, CoLA and LoST: language models that are low-rank from the first step of their pre-training."""
__version__ = "0.0.1"

import importlib.util, sys

class _AfterTransformers:
    "Makes Transformers' Auto classes know our checkpoints right after `transformers` is imported; `import lowrank_nb` itself then costs nothing."
    def find_spec(self, name, path=None, target=None):
        "For `transformers`, once: its own spec, with our registration added to what its import executes; None for all else."
        if name != 'transformers': return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None: return None
        execute = spec.loader.exec_module
        def execute_and_register(module):
            execute(module)
            from . import checkpoints
        spec.loader.exec_module = execute_and_register
        return spec

if 'transformers' in sys.modules: from . import checkpoints
else: sys.meta_path.insert(0, _AfterTransformers())
