"""A long run in one process, watched: does its memory grow, do its files stay open?

    python studies/soak.py                 2,400 updates, about ten minutes on one core
    python studies/soak.py --steps 240     a tenth of it

From the top of a checkout. The smallest model on the documentation that Python carries, with LORO's exact updates, logging, evaluations and checkpoints
of which two stay. After every tenth update: resident memory and open files. Results go to nbs/results/soak.json; growth ends it with a line and 1."""
import argparse, json, os, sys, tempfile, time
from pathlib import Path
from statistics import median
import torch
from lowrank_nb.run_c4 import commit, main
from lowrank_nb.training import Metrics

OUT, EVERY, MOST = Path('nbs/results/soak.json'), 10, .02       # updates between two looks; share by which memory may grow
FLAGS = '''--model_config llama_9m --tokenizer bytes --train_data_path embedded --val_data_path embedded --batch_size 4 --max_length 128 --workers 0 --warmup_steps 20
  --optimizer loro_adamw --loro_scope all --loro_attn_rank 16 --loro_mlp_rank 16 --lr 0.01 --loro_freq 20 --loro_refresh all --loro_refresh_freq 100 --loro_lr_scaler -1
  --eval_every 100 --eval_tokens 10_000 --save_ckpt True --save_every 100 --keep_last 2 --report_to tensorboard --device cpu'''

def resident()->int: # bytes, as the system counts them
    "Memory that this process holds now."
    return int(Path('/proc/self/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')

def handles()->int:
    "Files and sockets that this process has open."
    return len(os.listdir('/proc/self/fd'))

def watch(run)->list[list]: # [update, bytes, handles]
    "What the process holds while `run()` trains, looked at where a row is logged."
    plain, rows = Metrics.on_row, []
    def look(self, t, row):
        plain(self, t, row)
        if row['kind']=='train' and row['step']%EVERY==0: rows.append([row['step'], resident(), handles()])
    Metrics.on_row = look
    try: code = run()
    finally: Metrics.on_row = plain
    if code: sys.exit(code)
    return rows

def growth(rows:list[list])->tuple[float,int]: # share of the memory, handles
    "From the end of the first third to the end: medians over the twelfth of the run before either point, so that one look does not decide."
    n = len(rows); ends = [rows[k-max(1, n//12):k] for k in (n//3, n)]
    (a,b),(f,g) = ([median(r[i] for r in e) for e in ends] for i in (1,2))
    return b/a-1, round(g-f)

if __name__=='__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--steps', type=int, default=2400); p.add_argument('--out', type=Path, default=OUT); a = p.parse_args(); torch.set_num_threads(1)
    flags, start = [*FLAGS.split(), '--num_training_steps', str(a.steps)], time.perf_counter()
    with tempfile.TemporaryDirectory() as d:
        rows = watch(lambda: main([*flags, '--save_dir', f'{d}/run']))
        left = sorted(p.name for p in Path(f'{d}/run').glob('model_*'))
    more,files = growth(rows)
    a.out.write_text(json.dumps(dict(command='run_c4.py '+' '.join(flags), commit=commit(), device='cpu', threads=1, torch=torch.__version__, seconds=round(time.perf_counter()-start),
                                     columns=['update','resident (bytes)','open files'], checkpoints=left, rows=rows), separators=(',',':'))+'\n')
    print(f'{a.steps} updates: memory {more:+.2%}, open files {files:+d}')
    sys.exit(more>=MOST or files>0)
