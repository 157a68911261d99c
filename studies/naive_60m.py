"""The published question at its real size: is naive low rank really that much worse?

    python studies/naive_60m.py                train for at most --budget seconds, then stop
    python studies/naive_60m.py --tiny         the same with 1M parameters, to see that it works

GaLore's table gives a LLaMA of 60M parameters a perplexity of 34.06, and 78.18 if its layers are a
product W = BA of rank 128 under AdamW. This trains that model from two starts and at two rates,
beside the dense model, LORO, CoLA, LoST and Spectron by their recipes. All read the same tokens.

Run it from the top of a checkout, with the files of text in `../shared/data/text` and T5's
tokenizer in `../shared/data/t5-base`. A call ends after --budget seconds, in the middle of a run if
need be. The same command resumes there, bit for bit. Rows go to nbs/results/naive_60m.jsonl. A row
has the perplexity, and the one that the published scripts would print: the mean of batch means,
divided by one more than the number of batches."""
import argparse
import math
import signal
import subprocess
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from lowrank_nb.compare import RUN_C4
from lowrank_nb.data import eval_batches, eval_rows, load_tokenizer, text_source
from lowrank_nb.evaluate import evaluate, nats
from lowrank_nb.files import append_jsonl, git_commit, read_json, read_jsonl
from lowrank_nb.run_folder import find_checkpoint
from lowrank_nb.token_cache import prepare

ROWS = "nbs/results/naive_60m.jsonl"
TEXT = "../shared/data/text/text-{}.*.jsonl.gz"
T5 = "../shared/data/t5-base"
NAIVE = "--optimizer adamw --parameterization lowrank --loro_scope all"
METHODS = {
    "dense": "--optimizer adamw --lr 0.001",
    "naive, xavier, 0.0015": f"{NAIVE} --loro_init xavier --lr 0.0015",
    "naive, xavier, 0.003": f"{NAIVE} --loro_init xavier --lr 0.003",
    "naive, SVD, 0.0015": f"{NAIVE} --loro_init svd --lr 0.0015",
    "naive, SVD, 0.003": f"{NAIVE} --loro_init svd --lr 0.003",
    "LORO": "--config loro_60m",
    "CoLA": "--config cola_60m",
    "LoST": "--config lost_60m",
    "Spectron": "--config spectron_60m"}

def flags(name:str, args:argparse.Namespace, folder:Path)->list[str]:
    "Return the arguments of `run_c4`; later ones replace those of a recipe."
    size = "--model_config llama_9m" if args.tiny else "--model_config llama_60m --dtype bfloat16"
    rank = 32 if args.tiny else 128
    if name!="dense":
        size += f" --loro_attn_rank {rank} --loro_mlp_rank {rank}"
    warmup = max(1, args.steps//10)
    same = (f"--tokenizer {T5} --c4_local True --train_data_path {folder/'tokens'} "
            f"--val_data_path {TEXT.format('validation')} --packing --device {args.device} "
            f"--batch_size {args.batch_size} --total_batch_size {args.total_batch_size} "
            f"--num_training_steps {args.steps} --warmup_steps {warmup} --eval_every {args.steps} "
            f"--eval_tokens {args.eval_tokens} --save_ckpt True --save_every {args.steps} "
            f"--keep_last 1 --seed 0 --report_to none --workers 2")
    if name=="LORO": # exact steps, refreshes and restarts stay together
        period = max(1, args.steps//10)
        same += (f" --loro_freq {period} --loro_refresh_freq {period} --lr_adjust_steps -{warmup}"
                 f" --cosine_restart_freq {period}")
    return [*METHODS[name].split(), *size.split(), *same.split()]

def run_of(name:str, folder:Path)->Path:
    return folder/name.replace(", ", "_")

def train(name:str, args:argparse.Namespace, folder:Path, seconds:float)->bool: # whether it ended
    "Train, or resume; stop the run after some seconds, so that it saves its place."
    out = run_of(name, folder)
    resume = ["--continue_from", "latest"] if out.exists() else []
    argv = [*RUN_C4, *flags(name, args, folder), "--save_dir", str(out), *resume]
    process = subprocess.Popen(argv)
    try:
        code = process.wait(timeout=max(1, seconds))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    if code not in (0, 128+signal.SIGTERM):
        raise SystemExit(code)
    return code==0

@torch.no_grad()
def as_published(model:torch.nn.Module, batches:list[dict], device:torch.device)->float:
    "Return the perplexity of the mean of batch means, divided by N+1 instead of N."
    means = []
    for batch in batches:
        total, n = nats(model, {k: batch[k].to(device) for k in ("input_ids", "labels")})
        means.append((total/n).item())
    return math.exp(sum(means)/(len(means)+1))

def score(name:str, args:argparse.Namespace, folder:Path)->dict:
    "Evaluate the last checkpoint of a run: perplexity, right and as published."
    device = torch.device("cuda" if torch.cuda.is_available() and args.device=="auto" else "cpu")
    checkpoint = find_checkpoint("latest", run_of(name, folder))
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).to(device).eval()
    rows = eval_rows(text_source(TEXT.format("validation"), "validation"), load_tokenizer(T5),
                     max_tokens=args.eval_tokens)
    batches = list(eval_batches(rows, args.batch_size))
    summary = read_json(run_of(name, folder)/"summary.json")
    kept = {k: summary[k] for k in ("parameters", "tokens", "tokens_per_s", "seconds", "device")}
    found = evaluate(model, batches, device)
    return dict(name=name, tiny=args.tiny, steps=args.steps, **kept, loss=found["loss"],
                ppl=found["ppl"], ppl_as_published=as_published(model, batches, device),
                batches=len(batches), command=" ".join(["run_c4.py", *flags(name, args, folder)]),
                commit=git_commit(Path(__file__).parent))

def parse()->argparse.Namespace:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--budget", type=float, default=480, help="seconds of this call")
    p.add_argument("--steps", type=int, default=1400, help="updates of a run")
    p.add_argument("--batch_size", type=int, default=128, help="sequences of 256 on the device")
    p.add_argument("--total_batch_size", type=int, default=256, help="sequences of an update")
    p.add_argument("--eval_tokens", type=int, default=2_000_000)
    p.add_argument("--device", default="auto")
    p.add_argument("--folder", default="checkpoints/naive_60m", help="folder of runs and tokens")
    p.add_argument("--rows", default=ROWS, help="file of results")
    p.add_argument("--tiny", action="store_true", help="1M parameters, 20 updates, on a CPU")
    args = p.parse_args()
    if args.tiny:
        args.steps, args.batch_size, args.total_batch_size = 20, 4, 4
        args.eval_tokens = 2000
        args.device = "cpu"
        args.rows = f"{args.folder}/rows.jsonl"
    return args

def main()->None:
    args = parse()
    start, folder = time.monotonic(), Path(args.folder)
    def left()->float: return args.budget-(time.monotonic()-start)
    prepare(text_source(TEXT.format("train")), load_tokenizer(T5), folder/"tokens", workers=2)
    done = {r["name"] for r in read_jsonl(args.rows)}
    for name in [n for n in METHODS if n not in done]:
        if left()<=0 or not train(name, args, folder, left()):
            break
        append_jsonl(args.rows, score(name, args, folder), sync=True)
        done.add(name)
    print(f"{len(done)} of {len(METHODS)} runs have finished")

if __name__=="__main__": main()
