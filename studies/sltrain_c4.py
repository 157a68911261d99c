"""The runs of notebook 23: SLTrain in the setting of notebook 20, so that rows compare. It can be stopped and goes on where it was.

    python studies/sltrain_c4.py

From the top of a checkout, with C4's files (or the sample of it) in `../shared/data/c4/en`; rows go to nbs/results/sltrain.jsonl.
The grid grows until the best rate lies inside; then three seeds at the best rate, and the same layer with next to no S (one to four values),
at four rates: what the sparse part is worth. Last, a pass over the sample at the best rate: whether it stays ahead."""
from c4_bytes import LONG, SEEDS, SETTING, STEPS
from lowrank_nb.compare import Run, add_plugin, best_rate, compare, work

OUT = 'nbs/results/sltrain.jsonl'
DENSITY, SCALE = .03, .25     # the paper's for LLaMA 60M: a density of 3%, alpha / rank = 32 / 128

if __name__=='__main__':
    add_plugin('studies/sltrain.py', rates=(1e-3,2e-3,4e-3,8e-3), flags=f'--lost_sparsity {DENSITY} --lost_gamma {SCALE}')
    rows = compare(['sltrain'], SETTING, OUT, STEPS, SEEDS, jobs=2)
    rows += work([Run('sltrain', lr, 0, STEPS, '--lost_sparsity 0.0001') for lr in (1e-3,2e-3,4e-3,8e-3)], SETTING, OUT, jobs=2)
    best = best_rate([r for r in rows if not r['extra'] and r['seed']==0])
    rows += work([Run('sltrain', best, s, LONG) for s in SEEDS[:2]], SETTING, OUT, jobs=2)
    for r in rows: print(r['key'], r.get('loss', r.get('failed')))
