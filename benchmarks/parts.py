"""Where a training step's time goes: head and loss, the optimizer, the rest (blocks and attention), for the dense and the low-rank model."""
import gc
import torch
from common import interleave, median, parser, row, save, show
from step import make
from lowrank_nb.evaluate import nats_of_hidden

if __name__=='__main__':
    p = parser(__doc__); p.add_argument('--models', nargs='+', default=['llama_60m','llama_130m','llama_350m']); a = p.parse_args(); rows = []
    torch.set_num_threads(max(a.threads))
    for name in a.models:
        for kind in ('dense','lowrank'):
            step = make(name, kind); model, opt = step.model, step.opt; step()
            h, y = torch.randn(4, 256, model.config.hidden_size, requires_grad=True), torch.randint(0, 32000, (4,256))
            def head(): nats_of_hidden(h, model.lm_head, y)[0].backward()
            for q in model.parameters(): q.grad = torch.zeros_like(q) if q.grad is None else q.grad
            s = {k: median(v) for k,v in interleave(dict(head=head, optimizer=opt.step), 3).items()}; s['step'] = median(interleave(dict(step=step), 3)['step'])
            for k in ('head','optimizer'): rows.append(row(f'{name} {kind}: {k}, % of the step', 100*s[k]/s['step'], seconds=s))
            rows.append(row(f'{name} {kind}: blocks and attention, % of the step', 100*(1-(s['head']+s['optimizer'])/s['step'])))
            del step, model, opt; gc.collect()
    show(rows); save('parts', rows, 'python benchmarks/parts.py', a.out, threads=[max(a.threads)])
