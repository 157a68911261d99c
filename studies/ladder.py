"""A ladder of models of growing width, 20 bytes of text per parameter.

    python studies/ladder.py            train what is missing, two runs at a time
    python studies/ladder.py --pending  only print what is missing

Run it from the top of a checkout, with the files of text in `../shared/data/text`. Rows go to
nbs/results/ladder_<width>.jsonl. A study that was stopped resumes.

Text is read once, as bytes, in packed sequences of 256. A low-rank layer has rank width / 4. The
budget is 20 bytes per parameter of the dense model of that width, for every method alike. A method
that has fewer parameters also gets a run with 20 bytes for each of its own.

The best rate is the one with the lowest loss of whole documents. It is searched over a grid of
factors of 2 that grows until the best is inside. The grid of a width begins around the best rate of
the width below."""
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from c4_bytes import work

from lowrank_nb.build import model_from_flags
from lowrank_nb.compare import Run, Setting, best_rate, next_rates, run_queue
from lowrank_nb.files import read_jsonl

TEXT = "../shared/data/text/text-{}.*.jsonl.gz"
WIDTHS, SEEDS = (32, 48, 64, 96, 128, 192), (0, 1, 2)
BYTES_PER_PARAMETER, BATCH, LENGTH = 20, 8, 256
COMPILED = 96 # from this width on; below, compiling takes longer than it saves

@dataclass
class Rung(Setting):
    "Hold what all runs of one width share."
    width:int=64
    stride:int=128 # of the windows over whole documents
    packing:bool=True

    def flags(self)->str:
        compiled = "--compile" if self.width>=COMPILED else ""
        return f"{super().flags()} --packing --eval_windows {self.stride} {compiled}"

def rung(width:int)->Rung:
    return Rung(model=f"studies/ladder_{width}.json", data=TEXT.format("train"),
                val_data=TEXT.format("validation"), rank=width//4, batch_size=BATCH,
                max_length=LENGTH, eval_tokens=200_000, width=width)

def path(width:int)->str:
    return f"nbs/results/ladder_{width}.jsonl"

# Methods

SVD = "--loro_init svd"
LADDER = { # name: method of the comparison, further flags, rates of the grid at the first width
    "dense": ("dense", "", (.002, .004, .008)),
    "muon": ("muon", "", (.008, .016, .032)),
    "naive": ("lowrank", "", (.002, .004, .008)),
    "naive from SVD": ("lowrank", SVD, (.002, .004, .008)),
    "LORO from SVD": ("loro", SVD, (.01, .02, .04)),
    "CoLA": ("cola", "", (.004, .008, .016)),
    "LoST": ("lost", "", (.002, .004, .008)),
    "muon, naive from SVD": ("muon_lowrank", SVD, (.008, .016, .032)),
    "muon, LoST": ("muon_lost", "", (.008, .016, .032)),
    "Spectron from SVD": ("spectron", SVD, (.02, .04, .08))}

@dataclass(frozen=True)
class Once(Run):
    "Describe a run of one width that is evaluated at its end only."
    width:int=WIDTHS[0]
    def flags(self, setting:Setting)->list[str]:
        return [*super().flags(setting), "--eval_every", str(self.steps)]

@cache
def parameters(name:str, width:int)->int:
    method, extra, _ = LADDER[name]
    argv = Run(method, 1e-3, extra=extra).flags(rung(width))
    return sum(p.numel() for p in model_from_flags(argv).parameters())

def budget(name:str, width:int)->int: # updates
    return round(BYTES_PER_PARAMETER*parameters(name, width)/(BATCH*LENGTH))

# Rates

def tried(name:str, width:int, rows:dict[int, list[dict]])->list[dict]:
    "Select a method's rows of the dense budget, with the loss of whole documents as their loss."
    method, extra, _ = LADDER[name]
    key = method, extra, budget("dense", width)
    found = [r for r in rows[width] if (r["method"], r["extra"], r["steps"])==key]
    return [dict(r, loss=r.get("window_loss")) for r in found]

def first_rates(name:str, width:int, rows:dict[int, list[dict]])->tuple[float, ...]:
    "Return the grid of a width: the first one, or around the best rate of the width below."
    if width==WIDTHS[0]: return LADDER[name][2]
    had = tried(name, WIDTHS[WIDTHS.index(width)-1], rows)
    if not had: return ()
    best = best_rate(had)
    return best, best/2, 2*best

def runs(name:str, width:int, rates:Iterable[float], seeds:Iterable[int]=(0,))->list[Once]:
    method, extra, _ = LADDER[name]
    steps = budget("dense", width)
    return [Once(method, lr, seed, steps, extra, width) for lr in rates for seed in seeds]

def grid(name:str, width:int, rows:dict[int, list[dict]])->list[Once]:
    "List a width's runs with one seed; the grid grows while its best rate is at the edge."
    first = first_rates(name, width, rows)
    had = tried(name, width, rows)
    more = next_rates(had) if {r["lr"] for r in had}>={*first} and had else []
    return runs(name, width, [*first, *more])

def predicted(name:str, width:int, rows:dict[int, list[dict]])->list[Once]:
    "List the run at the rate that was best at the width below."
    return runs(name, width, first_rates(name, width, rows)[:1])

def seeded(name:str, width:int, rows:dict[int, list[dict]])->list[Once]:
    had = tried(name, width, rows)
    return runs(name, width, [best_rate(had)], SEEDS) if had else []

def own_budget(name:str, width:int, rows:dict[int, list[dict]])->list[Once]:
    "List the run with 20 bytes for each parameter of the method's own."
    had = tried(name, width, rows)
    steps = budget(name, width)
    if not had or steps==budget("dense", width):
        return []
    method, extra, _ = LADDER[name]
    return [Once(method, best_rate(had), 0, steps, extra, width)]

LATE = {"dense": (.004,), "naive from SVD": (.004,), "LORO from SVD": (.02, .04)}

def longer(name:str, width:int, rows:dict[int, list[dict]])->list[Once]:
    "List runs with the updates of width 48: does LORO only need more of them?"
    steps = budget("dense", 48)
    return [replace(run, steps=steps) for run in runs(name, width, LATE.get(name, ()))]

# The queue

STAGES = ( # the most important first
    [(grid, 32), (grid, 48), (predicted, 64), (seeded, 48), (grid, 64), (predicted, 96)]
    + [(longer, 32), (seeded, 64), (own_budget, 48), (own_budget, 64)]
    + [(predicted, 128), (seeded, 32), (own_budget, 32), (grid, 96), (seeded, 96)]
    + [(own_budget, 96), (grid, 128), (seeded, 128), (own_budget, 128)]
    + [(predicted, 192), (own_budget, 192), (grid, 192)])

def pending()->tuple[list[Once], int]:
    "Return the runs without a row, the most important first, and the number of rows."
    rows = {width: read_jsonl(path(width)) for width in WIDTHS}
    done = {(width, r["key"]) for width in WIDTHS for r in rows[width]}
    wanted = [run for stage,width in STAGES for name in LADDER for run in stage(name, width, rows)]
    todo = [run for run in dict.fromkeys(wanted) if (run.width, run.key) not in done]
    return todo, len(done)

def train(todo:list[Once], jobs:int)->None:
    "Make the first runs that share a width; a few at a time, since rows decide what comes next."
    width = todo[0].width
    same = [run for run in todo if run.width==width]
    run_queue(same[:3*jobs], rung(width), path(width), jobs)

def label(run:Once)->str:
    return f"width {run.width}, {run.key}"

if __name__=="__main__":
    work(__doc__, pending, train, label)
