"""The best learning rate over widths and ranks, with and without --rate_transfer.

    python studies/rate_transfer.py            train what is missing, two runs at a time
    python studies/rate_transfer.py --pending  only print what is missing

Run it from the top of a checkout, with the files of text in `../shared/data/text`. Rows go to
nbs/results/rate_transfer.jsonl. A study that was stopped resumes.

A short series comes first: widths 32 to 128 with a rank of width / 4, 150 updates. Long ones have
widths 64 to 256, and ranks 8 to 64 at width 128, with 300 updates. At the ends of a long series the
best rate also gets two more seeds. A grid has factors of 2 and grows until the best rate is inside.
Where a run has the base's shape, the flag changes nothing, and one run serves both."""
from dataclasses import dataclass

from c4_bytes import work

from lowrank_nb.compare import Run, Setting, best_rate, next_rates, run_queue
from lowrank_nb.files import read_jsonl

OUT = "nbs/results/rate_transfer.jsonl"
TEXT = "../shared/data/text/text-{}.*.jsonl.gz"
SETTING = Setting(model="studies/ladder_64.json", data=TEXT.format("train"),
                  val_data=TEXT.format("validation"), rank=16, batch_size=8, max_length=128,
                  eval_tokens=100_000)
SEEDS, SHORT = (0, 1, 2), 150
METHODS = { # name: method of the comparison, further flags, first grid
    "naive from SVD": ("lowrank", "--loro_init svd", (.008, .016)),
    "LORO from SVD": ("loro_plain", "--loro_init svd", (.02, .04)),
    "CoLA": ("cola", "", (.008, .016))}

@dataclass(frozen=True)
class Series:
    "Shapes that should share their best rate; the first one is the base."
    name:str
    shapes:tuple # (width, rank) each
    steps:int
    methods:tuple

SERIES = (
    Series("short", ((32, 8), (64, 16), (128, 32)), SHORT, ("naive from SVD",)),
    Series("width", ((64, 16), (128, 32), (256, 64)), 300, tuple(METHODS)),
    Series("rank", ((128, 8), (128, 32), (128, 64)), 300, tuple(METHODS)))

def extra(series:Series, method:str, shape:tuple, transfer:bool)->str:
    "Return the further flags of a run."
    (width, rank), (base_width, base_rank) = shape, series.shapes[0]
    flags = [f"--model_config studies/ladder_{width}.json --packing --eval_every {series.steps}",
             f"--loro_attn_rank {rank} --loro_mlp_rank {rank} {METHODS[method][1]}".strip()]
    if transfer and shape!=series.shapes[0]:
        flags.append(f"--rate_transfer width={base_width},rank={base_rank}")
    return " ".join(flags)

def runs(series:Series, method:str, shape:tuple, transfer:bool, rows:list[dict])->list[Run]:
    "List the grid of one shape, and the further seeds of its best rate."
    name, _, first = METHODS[method]
    more = extra(series, method, shape, transfer)
    had = [r for r in rows if (r["method"], r["extra"], r["steps"])==(name, more, series.steps)]
    rates = {*first, *(r["lr"] for r in had)}
    complete = {r["lr"] for r in had}==rates
    if complete: rates |= {*next_rates(had)}
    found = [Run(name, lr, 0, series.steps, more) for lr in sorted(rates)]
    inside = complete and not next_rates(had)
    if not inside or series.steps==SHORT or shape not in (series.shapes[0], series.shapes[-1]):
        return found
    return found + [Run(name, best_rate(had), seed, series.steps, more) for seed in SEEDS]

def pending()->tuple[list[Run], int]:
    "Return the runs without a row, and the number of rows."
    rows = read_jsonl(OUT)
    done = {r["key"] for r in rows}
    wanted = [run for series in SERIES for method in series.methods for shape in series.shapes
              for transfer in (False, True) for run in runs(series, method, shape, transfer, rows)]
    return [run for run in dict.fromkeys(wanted) if run.key not in done], len(done)

def train(todo:list[Run], jobs:int)->None:
    run_queue(todo[:jobs], SETTING, OUT, jobs)

if __name__=="__main__": work(__doc__, pending, train)
