"""A training step of the newest methods beside naive low rank under AdamW: seconds and bytes."""
import torch

from common import RANKS, finish, flag_parser, interleave, medians, ratio_row, row
from lowrank_nb.evaluate import LMLoss
from lowrank_nb.factorize import FactorizeConfig, factorize
from lowrank_nb.models import build_model
from lowrank_nb.optimizers import make_optimizer

NAIVE = 'naive low rank'
DECAY = dict(weight_decay=.1, decay='product')
BALANCE = dict(loro_type='rebalance', exact_every=1, refresh=None)
CANDIDATES = { # name: fields of FactorizeConfig, optimizer, its options
    NAIVE: (dict(kind='lowrank'), 'adamw', {}),
    'product decay': (dict(kind='lowrank'), 'adamw', DECAY),
    'balanced at every step': (dict(kind='lowrank'), 'loro_adamw', BALANCE),
    'Muon': (dict(kind='lowrank'), 'muon', {}),
    'Spectron': (dict(kind='lowrank'), 'spectron', {}),
    'DLR': (dict(kind='dlr'), 'adamw', {}),
    'DLR with SiLU': (dict(kind='dlr', silu=True), 'adamw', {}),
    'SLTrain': (dict(kind='sltrain', density=.03), 'adamw', {}),
    'dense': (None, 'adamw', {})}

class Step:
    "Make training steps of one candidate, on random tokens."
    def __init__(self, name:str, candidate:str):
        torch.manual_seed(0)
        config, optimizer, options = CANDIDATES[candidate]
        self.model = build_model(name)
        rank = RANKS[name]
        if config:
            factorize(self.model, FactorizeConfig(attn_rank=rank, mlp_rank=rank, **config))
        self.optimizer = make_optimizer(optimizer, self.model, lr=1e-4, **options)
        self.loss = LMLoss(self.model)
        self.tokens = torch.randint(0, 32000, (4, 256))

    def __call__(self):
        nats, n = self.loss(self.tokens, self.tokens)
        (nats/n).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def held(self)->int:
        "Return the bytes of weights, gradients and state of the optimizer, after a step."
        weights = list(self.model.parameters())
        state = [v for s in self.optimizer.state.values() for v in s.values() if torch.is_tensor(v)]
        return sum(t.nbytes for t in weights*2+state)

def rows_of(name:str, threads:int, repeats:int)->list[dict]:
    "Time the steps of one model."
    torch.set_num_threads(threads)
    steps = {candidate: Step(name, candidate) for candidate in CANDIDATES}
    s = interleave(steps, repeats)
    seconds, held = medians(s), {c: step.held() for c,step in steps.items()}
    where = f'{name}, {threads} threads'
    rows = [ratio_row(f'{where}: {c}, seconds of a step / {NAIVE}', s[c], s[NAIVE], higher=False,
                      candidate=c, seconds=seconds[c]) for c in CANDIDATES if c!=NAIVE]
    return rows + [row(f'{where}: {c}, weights, gradients and state, MiB', held[c]/2**20,
                       candidate=c) for c in CANDIDATES]

def main():
    parser = flag_parser(__doc__, threads=(1,), repeats=11)
    parser.add_argument('--models', nargs='+', default=['llama_60m'])
    args = parser.parse_args()
    rows = [row for name in args.models for t in args.threads
            for row in rows_of(name, t, args.repeats)]
    finish('new_methods', rows, args.out)

if __name__=='__main__': main()
