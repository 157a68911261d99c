"""The runs of the page on SLTrain, in the setting of `c4_bytes.py`.

    python studies/sltrain_c4.py

Run it from the top of a checkout, with C4's files (or the sample of it) in `../shared/data/c4/en`.
Rows go to nbs/results/sltrain.jsonl. A study that was stopped resumes.

1. A grid of learning rates that grows until the best is inside, and three seeds at the best rate.
2. The same layer with one to four values in S, at four rates: what the sparse part is worth.
3. 3,000 updates at the best rate: does it stay ahead?

The rows there were made when the density was --lost_sparsity; the draws are the same."""
from c4_bytes import LONG, SEEDS, SETTING, STEPS

from lowrank_nb.compare import METHODS, Run, best_rate, compare, run_queue

OUT = "nbs/results/sltrain.jsonl"
ALMOST_NO_S = "--sltrain_density 0.0001"

def main()->None:
    rows = compare(["sltrain"], SETTING, OUT, STEPS, SEEDS, jobs=2)
    without = [Run("sltrain", lr, 0, STEPS, ALMOST_NO_S) for lr in METHODS["sltrain"].rates]
    rows += run_queue(without, SETTING, OUT, jobs=2)
    best = best_rate([r for r in rows if not r["extra"] and r["seed"]==0])
    passes = [Run("sltrain", best, seed, LONG) for seed in SEEDS[:2]]
    rows += run_queue(passes, SETTING, OUT, jobs=2)
    for r in rows:
        print(r["key"], r.get("loss", r.get("failed")))

if __name__=="__main__": main()
