"""The output layer and its loss without all logits: exactness, time and memory beside PyTorch's
cross-entropy of all logits."""
import subprocess
import sys

import torch
from torch import nn

from common import HERE, finish, flag_parser, interleave, medians, ratio_row, row
from lowrank_nb.evaluate import nats_of_hidden, nats_of_logits

WAYS = 'logits', 'chunks'

def inputs(vocabulary:int, hidden:int, pads:float=0., sequences:int=4):
    "Return a head, hidden states and labels, a share `pads` of them padding."
    torch.manual_seed(0)
    head = nn.Linear(hidden, vocabulary, bias=False)
    nn.init.normal_(head.weight, std=.02)
    h = torch.randn(sequences, 256, hidden, requires_grad=True)
    labels = torch.randint(0, vocabulary, (sequences, 256))
    labels[:, int(256*(1-pads)):] = -100
    return head, h, labels

def step(way:str, head, h, labels):
    "Compute the loss and its gradients."
    h.grad = head.weight.grad = None
    if way=='logits':
        loss, n = nats_of_logits(head(h), labels)
    else:
        loss, n = nats_of_hidden(h, head, labels)
    (loss/n).backward()
    return loss.detach()

PEAK = '''import sys
sys.path.insert(0, {here!r})
import torch
from head import inputs, step
from lowrank_nb.process import peak_memory
x = inputs({vocabulary}, {hidden})
x[0].weight.grad = torch.ones_like(x[0].weight)
x[0].weight.grad = None
before = peak_memory(torch.device('cpu'))
step({way!r}, *x)
print(peak_memory(torch.device('cpu'))-before)'''

def peak(way:str, vocabulary:int, hidden:int)->int:
    "Return the bytes above what the inputs take, measured in a process of its own."
    code = PEAK.format(here=str(HERE), way=way, vocabulary=vocabulary, hidden=hidden)
    said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    return int(said.stdout)

def largest_difference(x)->float:
    "Return the largest relative difference of loss and gradients between the two ways."
    head, h, _ = x
    logits, chunks = ((step(w, *x), h.grad.clone(), head.weight.grad.clone()) for w in WAYS)
    return max(float((u-v).norm()/v.norm()) for u,v in zip(chunks, logits))

def measure(vocabulary:int, hidden:int, args)->list[dict]:
    "Return the rows of one size."
    x = inputs(vocabulary, hidden, .1)
    size = f'vocabulary {vocabulary}, hidden {hidden}'
    what = f'{size}: largest relative difference of loss and gradients'
    rows = [row(what, largest_difference(x), 1e-6, higher=False)]
    for t in args.threads:
        torch.set_num_threads(t)
        steps = {w: (lambda w=w: step(w, *x)) for w in WAYS}
        s = interleave(steps, max(3, args.repeats//3))
        what = f'{size}, {t} threads: times faster, a tenth of it padding'
        rows.append(ratio_row(what, s['logits'], s['chunks'], seconds=medians(s)))
    for w in WAYS:
        rows.append(row(f'{size}: peak MiB by {w}', peak(w, vocabulary, hidden)/2**20))
    return rows

def main():
    args, rows = flag_parser(__doc__).parse_args(), []
    for vocabulary,hidden in ((32_000, 512), (32_000, 768), (128_000, 512)):
        rows += measure(vocabulary, hidden, args)
    finish('head', rows, args.out, threads=args.threads)

if __name__=='__main__': main()
