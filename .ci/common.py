"""What the checks share: the checkout's root, a clean environment, a way to run a command."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent/'shared'  # C4 sample, T5 tokenizer and golden vectors, if they are at hand

# What a user has set for the hub, trackers or Python must not decide whether a check passes.
FOREIGN = 'HF_', 'HUGGINGFACE_', 'TRANSFORMERS_', 'WANDB_', 'TRACKIO_', 'PYTHONPATH', 'TORCH_'

def clean_environment(home:str)->dict[str,str]:
    "Return this process's environment without foreign settings; `home` is a writable cache folder."
    env = {k: v for k,v in os.environ.items() if not k.startswith(FOREIGN)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    # MALLOC_*: freed memory stays in the process; without it a bfloat16 run on a CPU spends half
    # its time in page faults. OMP_WAIT_POLICY: waiting threads leave their core to other checks.
    return env | dict(
        PATH=path, HF_HOME=home, HF_HUB_DISABLE_TELEMETRY='1', OMP_NUM_THREADS='1',
        OMP_WAIT_POLICY='passive', TOKENIZERS_PARALLELISM='false', MPLBACKEND='agg',
        MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_='20000000000', MALLOC_TOP_PAD_='100000000')

def sh(*cmd, env:dict, cwd:Path=ROOT, code:int=0)->subprocess.CompletedProcess:
    "Run a command; raise `RuntimeError` with the end of its output at another exit code."
    r = subprocess.run([str(c) for c in cmd], cwd=cwd, env=env, capture_output=True, text=True)
    if r.returncode!=code:
        command = ' '.join(map(str, cmd))
        raise RuntimeError(f'{command}: exit code {r.returncode}, expected {code}\n'
                           f'{r.stdout[-1500:]}\n{r.stderr[-1500:]}')
    return r

def notebooks()->list[Path]:
    "Return all notebooks, those of the site and those of `nbs/tests`."
    found = (ROOT/'nbs').rglob('*.ipynb')
    return sorted(p for p in found if not {'_proc', '.ipynb_checkpoints'} & set(p.parts))

def site_notebooks()->list[Path]:
    "Return the notebooks that become pages."
    return [p for p in notebooks() if p.parent.name=='nbs']
