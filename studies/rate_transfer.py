"""The best learning rate over widths and ranks, with and without --rate_transfer.

    python studies/rate_transfer.py            train what is missing, two runs at a time
    python studies/rate_transfer.py --pending  only print what is missing

Run it from the top of a checkout, with the files of text in `../shared/data/text`. Rows go to
nbs/results/rate_transfer.jsonl. A study that was stopped resumes.

One series has widths 64 to 256 with a rank of width / 4, one has ranks 8 to 64 at width 128. At the
ends of a series the best rate also gets two more seeds. A grid has factors of 2 and grows until the
best rate is inside. Where a run has the base's shape, the flag changes nothing, and one run serves
both."""
from c4_bytes import missing, work

from lowrank_nb.compare import Run, Setting, best_rate, next_rates, run_queue

OUT = "nbs/results/rate_transfer.jsonl"
TEXT = "../shared/data/text/text-{}.*.jsonl.gz"
SETTING = Setting(model="studies/ladder_64.json", data=TEXT.format("train"),
                  val_data=TEXT.format("validation"), rank=16, batch_size=8, max_length=128,
                  eval_tokens=100_000)
SEEDS, STEPS = (0, 1, 2), 300
METHODS = { # name: method of the comparison, further flags, first grid
    "naive from SVD": ("lowrank", "--loro_init svd", (.008, .016)),
    "LORO from SVD": ("loro_plain", "--loro_init svd", (.02, .04)),
    "CoLA": ("cola", "", (.008, .016))}

SERIES = { # (width, rank) of shapes that should share their best rate; the first one is the base
    "width": ((64, 16), (128, 32), (256, 64)),
    "rank": ((128, 8), (128, 32), (128, 64))}

def extra(method:str, shape:tuple, base:tuple, transfer:bool)->str:
    "Return the further flags of a run."
    (width, rank), (base_width, base_rank) = shape, base
    flags = [f"--model_config studies/ladder_{width}.json --packing --eval_every {STEPS}",
             f"--loro_attn_rank {rank} --loro_mlp_rank {rank} {METHODS[method][1]}".strip()]
    if transfer and shape!=base:
        flags.append(f"--rate_transfer width={base_width},rank={base_rank}")
    return " ".join(flags)

def tried(method:str, more:str, rows:list[dict])->list[dict]:
    "Select the rows with these further flags."
    key = METHODS[method][0], more, STEPS
    return [r for r in rows if (r["method"], r["extra"], r["steps"])==key]

def runs(method:str, more:str, seeds:tuple, rows:list[dict])->list[Run]:
    "List the grid of one shape, and the further seeds of its best rate."
    name, _, first = METHODS[method]
    had = tried(method, more, rows)
    rates = {*first, *(r["lr"] for r in had)}
    complete = {r["lr"] for r in had}==rates
    if complete: rates |= {*next_rates(had)}
    found = [Run(name, lr, 0, STEPS, more) for lr in sorted(rates)]
    if not complete or next_rates(had):
        return found
    return found + [Run(name, best_rate(had), seed, STEPS, more) for seed in seeds]

def wanted(rows:list[dict])->list[Run]:
    "List all runs that are known to be wanted, given the rows so far."
    found = []
    for shapes in SERIES.values():
        for method in METHODS:
            for shape in shapes:
                seeds = SEEDS if shape in (shapes[0], shapes[-1]) else SEEDS[:1]
                for transfer in (False, True):
                    more = extra(method, shape, shapes[0], transfer)
                    found += runs(method, more, seeds, rows)
    return found

def pending()->tuple[list[Run], int]: return missing(OUT, wanted)

def train(todo:list[Run], jobs:int)->None:
    run_queue(todo[:jobs], SETTING, OUT, jobs)

if __name__=="__main__":
    work(__doc__, pending, train)
