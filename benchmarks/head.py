"""The output layer and its loss without the logits of the whole batch: exactness, time and memory against PyTorch's cross-entropy of all logits."""
import subprocess, sys
import torch
from torch import nn
from common import command, interleave, median, parser, ratio, row, save, show
from lowrank_nb.evaluate import nats_of_hidden, nats_of_logits

def setup(vocab:int, hidden:int, pads:float=0., seqs:int=4):
    torch.manual_seed(0); head = nn.Linear(hidden, vocab, bias=False); nn.init.normal_(head.weight, std=.02)
    h, y = torch.randn(seqs, 256, hidden, requires_grad=True), torch.randint(0, vocab, (seqs,256)); y[:, int(256*(1-pads)):] = -100
    return head, h, y

def step(how:str, head, h, y):
    h.grad = head.weight.grad = None
    loss,n = nats_of_logits(head(h), y) if how=='logits' else nats_of_hidden(h, head, y)
    (loss/n).backward(); return loss.detach()

def peak(how:str, vocab:int, hidden:int)->int: # bytes above what the inputs take, in a process of its own
    code = f'import sys; sys.path.insert(0,{str(__import__("common").here)!r}); import head as b; x = b.setup({vocab},{hidden}); x[0].weight.grad = __import__("torch").ones_like(x[0].weight); x[0].weight.grad = None; m = __import__("common").peak_rss; a = m(); b.step({how!r},*x); print(m()-a)'
    return int(subprocess.run([sys.executable,'-c',code], capture_output=True, text=True, check=True).stdout)

if __name__=='__main__':
    a = parser(__doc__).parse_args(); rows = []
    for vocab,hidden in ((32_000,512),(32_000,768),(128_000,512)):
        x = setup(vocab, hidden, .1); grads = []
        for how in ('logits','chunks'): grads.append((step(how, *x), x[1].grad.clone(), x[0].weight.grad.clone()))
        rel = max(float((u-v).norm()/v.norm()) for u,v in zip(*grads[::-1]))
        rows.append(row(f'vocabulary {vocab}, hidden {hidden}: largest relative difference of loss and gradients', rel, 1e-6, False))
        for t in a.threads:
            torch.set_num_threads(t); s = interleave({k: (lambda k=k: step(k, *x)) for k in ('logits','chunks')}, max(3, a.repeats//3)); v,lo,hi = ratio(s['logits'], s['chunks'])
            rows.append(row(f'vocabulary {vocab}, hidden {hidden}, {t} threads: times faster, a tenth of it padding', v, None, low=lo, high=hi, seconds={k: median(o) for k,o in s.items()}))
        mem = {k: peak(k, vocab, hidden) for k in ('logits','chunks')}
        rows += [row(f'vocabulary {vocab}, hidden {hidden}: peak MiB by {k}', m/2**20) for k,m in mem.items()]
    show(rows); save('head', rows, command(), a.out, threads=a.threads)
