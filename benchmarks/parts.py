"""Where a training step's time goes: head and loss, the optimizer, blocks and attention."""
import gc

import torch

from common import finish, flag_parser, interleave, medians, row
from lowrank_nb.evaluate import nats_of_hidden
from step import Step

def measure(name:str, kind:str)->list[dict]:
    "Return the share of each part in a step of one model."
    step = Step(name, kind)
    step()
    model, hidden = step.model, step.model.config.hidden_size
    h = torch.randn(4, 256, hidden, requires_grad=True)
    labels = torch.randint(0, 32000, (4, 256))
    def head(): nats_of_hidden(h, model.lm_head, labels)[0].backward()
    for p in model.parameters():
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    seconds = medians(interleave(dict(head=head, optimizer=step.opt.step), 3))
    seconds |= medians(interleave(dict(step=step), 3))
    share = {k: 100*seconds[k]/seconds['step'] for k in ('head', 'optimizer')}
    where = f'{name} {kind}'
    rows = [row(f'{where}: {k}, % of the step', v, seconds=seconds) for k,v in share.items()]
    rest = 100-sum(share.values())
    return [*rows, row(f'{where}: blocks and attention, % of the step', rest)]

def main():
    parser, rows = flag_parser(__doc__), []
    models = ['llama_60m', 'llama_130m', 'llama_350m']
    parser.add_argument('--models', nargs='+', default=models)
    args = parser.parse_args()
    torch.set_num_threads(max(args.threads))
    for name in args.models:
        for kind in ('dense', 'lowrank'):
            rows += measure(name, kind)
            gc.collect()
    finish('parts', rows, args.out, threads=[max(args.threads)])

if __name__=='__main__': main()
