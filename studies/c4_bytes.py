"""The study of the page on results: C4 as bytes, a LLaMA of 0.9M parameters.

    python studies/c4_bytes.py            train what is missing, two runs at a time
    python studies/c4_bytes.py --pending  only print what is missing

Run it from the top of a checkout, with C4's files (or the sample of it) in `../shared/data/c4/en`.
Rows go to nbs/results/c4_bytes.jsonl. A study that was stopped resumes.

Methods are tuned first. Questions come next: each changes one thing about a method at its best
rate. The queue grows with the rows, because a best rate must be known before it can be used."""
import argparse
from collections.abc import Callable, Iterable
from operator import attrgetter

from lowrank_nb.compare import METHODS, Run, Setting, best_rate, finished, next_rates, run_queue
from lowrank_nb.files import read_jsonl

OUT = "nbs/results/c4_bytes.jsonl"
C4 = "../shared/data/c4/en/c4-{}.*.json.gz"
SETTING = Setting(data=C4.format("train"), val_data=C4.format("validation"))
STEPS, LONG, SEEDS = 600, 3000, (0, 1, 2)
CORE = "control", "dense", "lowrank", "loro", "cola", "lost"
MORE = ("loro_plain", "lowrank_refresh", "lost_silu", "lost_loro", "muon", "muon_lowrank",
        "muon_cola", "muon_lost", "galore", "apollo")

# Questions

def rank(r:int)->str:
    return f"--loro_attn_rank {r} --loro_mlp_rank {r}"

def scale(name:str)->str:
    return f"--model_config studies/llama_9m_{name}.json"

def ask(methods:str | Iterable[str], flags:Iterable[str], rates:tuple=())->list[tuple]:
    "List (method, further flags, rates) for every pair."
    methods = [methods] if isinstance(methods, str) else methods
    return [(m, f, rates) for m in methods for f in flags]

# Flags that change what a learning rate means have a grid of their own: multiples of the best rate.
AROUND = .5, 1, 2
QUESTIONS = {
    "initial scale: dense with other weights": ask(
        "dense", [scale("init005"), scale("init01"), scale("init04")], AROUND),
    "initial scale: twice as large": ask(
        ("lowrank", "loro", "cola", "lost"), [scale("init04")]),
    "LORO: how often exact": ask("loro", [f"--loro_freq {k}" for k in (1, 10, 100000)]),
    "LoST: the mask": ask("lost", [f"--lost_sparse_method {m}" for m in ("random", "gradient")]),
    "LORO: plain Adam on the factors": ask("loro", ["--loro_type eucl"], (.05, .1, .2, .5, 1)),
    "LORO: the learning-rate scaler": ask(
        "loro", ["--loro_lr_scaler 1.0"], (.125, .25, .5, 1, 2)),
    "LoST: gamma": ask("lost", [f"--lost_gamma {g}" for g in (.25, .75, 1.)]),
    "LoST: sparsity": ask("lost", [f"--lost_sparsity {s}" for s in (.01, .2)]),
    "factors' init": [
        *ask("lowrank", [f"--loro_init {i}" for i in ("auto", "cola", "svd")]),
        *ask("loro", ["--loro_init svd"]),
        *ask("lost", [f"--loro_init {i}" for i in ("xavier", "cola")]),
        *ask("muon_lowrank", ["--loro_init svd"])],
    "CoLA: its init": ask(
        "cola", [f"--cola_init False --loro_init {i}" for i in ("xavier", "svd")]),
    "LoST: which layers": ask("lost", [f"--loro_scope {s}" for s in ("attn", "mlp")]),
    "CoLA: the MLP's own activation": ask("cola", ["--cola_keep_mlp_act False"]),
    "rank": ask(("lowrank", "loro", "cola", "lost"), [rank(r) for r in (8, 16, 64)], AROUND)}

# Answers that were ahead after 600 updates, repeated for 3,000 at the method's best rate.
PASS = [("lowrank", "--loro_init svd"), ("loro", "--loro_freq 1"), ("dense", scale("init04")),
        ("muon", ""), ("muon_lowrank", "")]

# Rates

def tried(method:str, rows:list[dict], extra:str="")->list[dict]:
    "Select the rows of a method with 600 updates."
    return [r for r in rows if (r["method"], r["extra"], r["steps"])==(method, extra, STEPS)]

def rates_of(rows:list[dict])->set[float]:
    return {r["lr"] for r in rows}

def tuning(method:str, rows:list[dict])->list[Run]:
    "List the runs of a method's grid, which grows while its best rate is at the edge."
    had = tried(method, rows)
    rates = {*METHODS[method].rates, *rates_of(had)}
    if rates_of(had)==rates:
        rates |= {*next_rates(had)}
    return [Run(method, lr, steps=STEPS) for lr in sorted(rates)]

def tuned(method:str, rows:list[dict])->float | None:
    """Return a method's best rate, or None until it is inside its grid.
    Other seeds may change it. Then the next rate gets its seeds too."""
    had = tried(method, rows)
    complete = had and rates_of(had)>={*METHODS[method].rates} and not next_rates(had)
    return best_rate(had) if complete else None

# The queue

def seeds_at(method:str, lr:float, steps:int=STEPS, extra:str="")->list[Run]:
    return [Run(method, lr, seed, steps, extra) for seed in SEEDS]

def answers(method:str, extra:str, rates:tuple, best:float, rows:list[dict])->list[Run]:
    """List the runs of one question: all seeds at the method's best rate. If a rate means
    something else here, a grid comes first and grows like any grid."""
    if not rates:
        return seeds_at(method, best, extra=extra)
    grid = sorted({float(f"{best*factor:g}") for factor in rates})
    first = [Run(method, lr, 0, STEPS, extra) for lr in grid]
    had = tried(method, rows, extra)
    if not rates_of(had)>={*grid}: return first
    stable = rates_of(had) - {r["lr"] for r in had if not finished([r])}
    if not stable:
        return [*first, Run(method, min(rates_of(had))/2, 0, STEPS, extra)]
    more = [Run(method, lr, 0, STEPS, extra) for lr in next_rates(had)]
    return first + (more or seeds_at(method, best_rate(had), extra=extra))

def after_tuning(rows:list[dict])->list[Run]:
    "List what follows from the best rates that are known, the most important first."
    rates = {m: tuned(m, rows) for m in (*CORE, *MORE)}
    best = {m: lr for m, lr in rates.items() if lr}
    core, more = ([m for m in methods if m in best] for methods in (CORE, MORE))
    asked = [q for questions in QUESTIONS.values() for q in questions if q[0] in best]
    passes = [(m, extra) for m, extra in PASS if m in best]
    return [
        *(run for m in core for run in seeds_at(m, best[m])),
        *(Run(m, best[m], seed, LONG) for seed in SEEDS for m in core),
        *(run for m, extra, wide in asked for run in answers(m, extra, wide, best[m], rows)),
        *(Run(m, best[m], seed, LONG, extra) for seed in SEEDS for m, extra in passes),
        *(run for m in more for run in seeds_at(m, best[m]))]

def queue(rows:list[dict])->list[Run]:
    "List all runs that are known to be wanted, given the rows so far."
    return [
        *(run for m in CORE for run in tuning(m, rows)),
        *after_tuning(rows),
        *(run for m in MORE for run in tuning(m, rows))]

def missing(path:str, queue:Callable)->tuple[list[Run], int]:
    "Return the runs of a queue without a row in a file, and the number of rows."
    rows = read_jsonl(path)
    done = {r["key"] for r in rows}
    return [run for run in dict.fromkeys(queue(rows)) if run.key not in done], len(done)

def pending()->tuple[list[Run], int]: return missing(OUT, queue)

def work(doc:str, pending:Callable, train:Callable, label:Callable=attrgetter("key"))->None:
    """Run the command line of a study. `pending` returns the runs without a row and the number of
    rows; `train` makes some of the first runs; `label` names a run."""
    p = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--pending", action="store_true", help="only print what is missing")
    p.add_argument("--jobs", type=int, default=2, help="runs at a time")
    args = p.parse_args()
    todo, done = pending()
    if args.pending:
        for run in todo:
            print(f"pending: {label(run)}")
        print(f"{done} runs have finished, {len(todo)} are known to be pending")
        return
    while todo:
        train(todo, args.jobs)
        todo, done = pending()
        print(f"{done} runs have finished, {len(todo)} are known to be pending", flush=True)
    print("nothing is pending")

def train(todo:list[Run], jobs:int)->None:
    run_queue(todo[:jobs], SETTING, OUT, jobs)

if __name__=="__main__":
    work(__doc__, pending, train)
