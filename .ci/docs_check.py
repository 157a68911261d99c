"""Do all notebooks run from top to bottom and say what they store? Two at a time, `#| slow` cells left out.  docs_check.py [NOTEBOOK ...]"""
import os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

root = Path(__file__).resolve().parent.parent
env = dict(os.environ, OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', MPLBACKEND='agg', HF_HUB_DISABLE_TELEMETRY='1')

def run(p:Path)->bool:
    r = subprocess.run([sys.executable,'.ci/timed.py',p,os.devnull,'--exact'], cwd=root, env=env, capture_output=True, text=True)
    print(f"{'ok    ' if r.returncode==0 else 'FAILED'} {p.name}" + (f'\n{r.stderr[-3000:]}' if r.returncode else ''), flush=True)
    return r.returncode==0

if __name__=='__main__':
    nbs = [Path(a).resolve() for a in sys.argv[1:]] or sorted((root/'nbs').glob('*.ipynb'), key=lambda p: -p.stat().st_size)
    with ThreadPoolExecutor(2) as pool: done = [*pool.map(run, nbs)]
    print(f'{done.count(True)} notebooks say what they store, {done.count(False)} do not'); sys.exit(not all(done))
