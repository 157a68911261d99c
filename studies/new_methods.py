"""The newest methods in the setting of c4_bytes.py: C4 as bytes, a LLaMA of 0.9M parameters.

    python studies/new_methods.py            train what is missing, two runs at a time
    python studies/new_methods.py --pending  only print what is missing

Run it from the top of a checkout, with C4's files (or the sample of it) in `../shared/data/c4/en`.
Rows go to nbs/results/new_methods.jsonl. A study that was stopped resumes.

Each row of `NEW` has a grid that grows until its best rate is inside, and three seeds there. Weight
decay changes one number at the best rate of naive low rank, which c4_bytes.py found."""
import c4_bytes
from c4_bytes import SETTING, answers, missing, tuned, work

from lowrank_nb.compare import Run, run_queue
from lowrank_nb.files import read_jsonl

OUT = "nbs/results/new_methods.jsonl"
RATES, HIGH = (.002, .004, .008), (.02, .04, .08)
SPLIT = "q_proj=16,k_proj=16,v_proj=48,o_proj=48" # as many parameters as rank 32 everywhere
MLP = "q_proj=16,k_proj=16,v_proj=16,o_proj=16,gate_proj=44,up_proj=44,down_proj=44" # 0.3% more
NEW = { # name: method of the comparison, further flags, first grid
    "Spectron": ("spectron", "", HIGH),
    "Spectron from SVD": ("spectron", "--loro_init svd", HIGH),
    "DLR": ("dlr", "", RATES),
    "DLR with SiLU": ("dlr", "--cola_silu True", RATES),
    "rebalance": ("rebalance", "", (.005, .01, .02)),
    "alpha 8": ("lowrank", "--alpha 8", RATES),
    "wsd": ("lowrank", "--scheduler wsd", RATES),
    "ranks: more in v, o than in q, k": ("lowrank", f"--ranks {SPLIT}", RATES),
    "ranks: more in the MLP": ("lowrank", f"--ranks {MLP}", RATES)}
DECAYS = {f"decay of the {what}": ("lowrank", f"--weight_decay 1 --decay {what}")
          for what in ("factors", "product")}

def queue(rows:list[dict])->list[Run]:
    "List all runs that are known to be wanted, given the rows so far."
    naive = tuned("lowrank", read_jsonl(c4_bytes.OUT))
    return [
        *(run for method, extra, rates in NEW.values()
          for run in answers(method, extra, rates, 1, rows)),
        *(run for method, extra in DECAYS.values()
          for run in answers(method, extra, (), naive, rows))]

def pending()->tuple[list[Run], int]: return missing(OUT, queue)

def train(todo:list[Run], jobs:int)->None:
    run_queue(todo[:jobs], SETTING, OUT, jobs)

if __name__=="__main__":
    work(__doc__, pending, train)
