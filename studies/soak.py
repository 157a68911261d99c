"""A long run in one process: does its memory grow, do its files stay open?

    python studies/soak.py                 2,400 updates, about ten minutes on one core
    python studies/soak.py --steps 240     a tenth of it

Run it from the top of a checkout. It trains the smallest model on the documentation that Python
carries, with LORO's exact steps, logging, evaluations and checkpoints of which two are kept. After
every tenth update it notes resident memory and open files. Results go to nbs/results/soak.json.
The exit code is 1 if memory grows by 2% or a file stays open."""
import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch

from lowrank_nb.callbacks import Metrics
from lowrank_nb.files import git_commit, write_json
from lowrank_nb.run_c4 import main as run_c4

OUT, EVERY, MOST = Path("nbs/results/soak.json"), 10, .02 # updates between notes; largest growth
FLAGS = """--model_config llama_9m --tokenizer bytes
    --train_data_path embedded --val_data_path embedded
    --batch_size 4 --max_length 128 --workers 0 --warmup_steps 20
    --optimizer loro_adamw --loro_scope all --loro_attn_rank 16 --loro_mlp_rank 16 --lr 0.01
    --loro_freq 20 --loro_refresh all --loro_refresh_freq 100 --loro_lr_scaler -1
    --eval_every 100 --eval_tokens 10_000 --save_ckpt True --save_every 100 --keep_last 2
    --report_to tensorboard --device cpu""".split()

def resident()->int: # bytes
    "Return the memory that this process holds now."
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages*os.sysconf("SC_PAGE_SIZE")

def handles()->int:
    "Count the files and sockets that this process has open."
    return len(os.listdir("/proc/self/fd"))

def watch(run:Callable[[], int])->list[list]: # [update, bytes, handles]
    "Note what the process holds while `run()` trains. Exits if the run fails."
    plain, notes = Metrics.on_row, []
    def on_row(self, trainer, row):
        plain(self, trainer, row)
        if row["kind"]=="train" and row["step"]%EVERY==0:
            notes.append([row["step"], resident(), handles()])
    with patch.object(Metrics, "on_row", on_row):
        code = run()
    if code: sys.exit(code)
    return notes

def growth(notes:list[list])->tuple[float,int]: # share of the memory, handles
    """Compare the end of the first third with the end. Medians over the twelfth of the run before
    either point keep one note from deciding."""
    n = len(notes)
    window = max(1, n//12)
    early, late = notes[n//3-window:n//3], notes[n-window:]
    def middle(part, column): return median(note[column] for note in part)
    memory = middle(late, 1)/middle(early, 1) - 1
    return memory, round(middle(late, 2) - middle(early, 2))

def record(flags:list[str], notes:list[list], checkpoints:list[str], seconds:float)->dict:
    return dict(
        command=" ".join(["run_c4.py", *flags]), commit=git_commit(), device="cpu", threads=1,
        torch=torch.__version__, seconds=round(seconds),
        columns=["update", "resident (bytes)", "open files"], checkpoints=checkpoints, rows=notes)

def main()->int:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--steps", type=int, default=2400, help="updates")
    p.add_argument("--out", type=Path, default=OUT, help="file of the results")
    args = p.parse_args()
    torch.set_num_threads(1)
    flags = [*FLAGS, "--num_training_steps", str(args.steps)]
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as d:
        notes = watch(lambda: run_c4([*flags, "--save_dir", f"{d}/run"]))
        checkpoints = sorted(p.name for p in Path(f"{d}/run").glob("model_*"))
    results = record(flags, notes, checkpoints, time.perf_counter()-start)
    write_json(args.out, results, indent=None)
    memory, files = growth(notes)
    print(f"{args.steps} updates: memory {memory:+.2%}, open files {files:+d}")
    return int(memory>=MOST or files>0)

if __name__=="__main__": sys.exit(main())
