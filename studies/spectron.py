"""Spectron beside Muon on factors: C4 as bytes, one seed, rows in nbs/results/spectron.jsonl.

    python studies/spectron.py   train what is missing

Run it from the top of a checkout, with C4's files (or the sample of it) in `../shared/data/c4/en`.
Data, model and budget are those of studies/c4_bytes.py, whose rows of Muon and AdamW it joins."""
from c4_bytes import SETTING, STEPS

from lowrank_nb.compare import Run, run_queue

OUT = "nbs/results/spectron.jsonl"
RATES = .02, .04, .08

if __name__=="__main__":
    run_queue([Run("spectron", lr, steps=STEPS) for lr in RATES], SETTING, OUT)
