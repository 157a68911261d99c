"""How long training waits for a checkpoint, with and without --save_async."""
import tempfile
from functools import partial

import torch
from transformers.utils.logging import disable_progress_bar

from common import finish, flag_parser, median, ratio_row, row, seconds_of
from lowrank_nb.factorize import FactorizeConfig, factorize
from lowrank_nb.models import build_model
from lowrank_nb.optimizers import make_optimizer
from lowrank_nb.resume import Save
from lowrank_nb.schedules import make_schedule
from lowrank_nb.training import Trainer

MODEL = 'llama_9m'
RANK = 32
PAIR = ('ordinary', 'with --save_async')

def trainer_of()->Trainer:
    "Make a trainer after one step: weights and moments, as in a run."
    model = factorize(build_model(MODEL), FactorizeConfig('lowrank', attn_rank=RANK, mlp_rank=RANK))
    for p in model.parameters():
        p.grad = torch.randn_like(p)*1e-3
    optimizer = make_optimizer('adamw', model, lr=1e-3)
    optimizer.step()
    schedule = make_schedule(optimizer, 'cosine', num_training_steps=10, warmup_steps=1)
    return Trainer(model, optimizer, schedule, iter(()), 0)

def waits(trainer:Trainer, repeats:int)->dict[str,list[float]]:
    "Time ordinary saves and those in the background in turn. The first of each does not count."
    seconds = {name: [] for name in PAIR}
    with tempfile.TemporaryDirectory() as d:
        saves = {name: Save(f'{d}/{name}', 1, background=name==PAIR[1]) for name in PAIR}
        for save in saves.values():
            save.before_fit(trainer)
        for i in range(repeats+1):
            for name,save in saves.items():
                s = seconds_of(partial(save.run, trainer))
                save.wait()
                if i: seconds[name].append(s)
    return seconds

def main():
    args = flag_parser(__doc__, threads=(1,), repeats=5).parse_args()
    rows = []
    disable_progress_bar()
    trainer = trainer_of()
    n = trainer.model.num_parameters()
    for threads in args.threads:
        torch.set_num_threads(threads)
        s = waits(trainer, args.repeats)
        for name in PAIR:
            rows.append(row(f'{name}: a save, {n/1e6:.1f}M parameters, s', median(s[name])))
        rows.append(ratio_row('ordinary over --save_async', s[PAIR[0]], s[PAIR[1]]))
    finish('save', rows, args.out)

if __name__=='__main__': main()
