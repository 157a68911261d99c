"""The feed: useful tokens a second on one core, from text, from a token cache, and of the tokenizer
alone. Useful tokens are not padding.

    python benchmarks/feed.py --data DIR/c4/en --tokenizer DIR/t5-base"""
import os
import tempfile
import time

os.environ['TOKENIZERS_PARALLELISM'] = 'false'

import torch

from common import finish, flag_parser, median, row
from lowrank_nb.data import TextSource, TrainStream, load_tokenizer, prepare, texts_of
from lowrank_nb.factorize import FactorizeConfig, factorize
from lowrank_nb.models import build_model
from lowrank_nb.optimizers import make_optimizer
from lowrank_nb.schedules import make_schedule
from lowrank_nb.training import Trainer

GOAL = 1.0  # million useful tokens a second

def one_pass(source, tokenizer, packing:bool, batch_size:int=64)->float:
    "Return the useful tokens a second of one pass."
    stream = TrainStream(source, tokenizer, batch_size, packing=packing)
    n, start = 0, time.perf_counter()
    while True:
        batch = next(stream)
        if stream.epoch:
            return n/(time.perf_counter()-start)
        n += int((batch['labels']!=-100).sum())

def tokenizer_alone(texts, tokenizer, packing:bool)->float:
    "Return the tokens a second of the tokenizer's own batch call."
    cut = {} if packing else dict(truncation=True, max_length=256)
    start = time.perf_counter()
    rows = tokenizer(texts, return_attention_mask=False, verbose=False, **cut)['input_ids']
    return sum(map(len, rows))/(time.perf_counter()-start)

class Timed:
    "Wrap a stream to measure how long its reader waits."
    def __init__(self, stream): self.stream, self.seconds = stream, 0.

    def __next__(self):
        start = time.perf_counter()
        batch = next(self.stream)
        self.seconds += time.perf_counter()-start
        return batch

def waiting(source, tokenizer, updates:int=130)->float:
    """Return the share of its time, in %, that a training loop waits for batches: llama_9m, 8 x 256
    tokens, one thread, no workers. 1,000 documents are read and tokenized at once; 130 updates read
    a second block."""
    model = factorize(build_model('llama_9m'), FactorizeConfig(attn_rank=32, mlp_rank=32))
    opt = make_optimizer('adamw', model)
    stream = Timed(TrainStream(source, tokenizer, 8))
    schedule = make_schedule(opt, 'const', updates, warmup_steps=0)
    trainer = Trainer(model, opt, schedule, stream, updates)
    start = time.perf_counter()
    trainer.fit()
    return 100*stream.seconds/(time.perf_counter()-start)

def cases_of(source, cache, t5, as_bytes)->dict:
    "Return name -> function that gives tokens a second."
    texts = [t for f in source.files for t in texts_of(f)]
    cases = {}
    for how,packing in (('padded', False), ('packed', True)):
        def of(function, *args, packing=packing):
            return lambda: function(*args, packing)
        cases[f't5 tokenizer alone, {how}'] = of(tokenizer_alone, texts, t5)
        cases[f't5 {how}'] = of(one_pass, source, t5)
        cases[f't5 {how}, cache'] = of(one_pass, cache, t5)
        cases[f'bytes {how}'] = of(one_pass, source, as_bytes)
    return cases

def main():
    parser = flag_parser(__doc__, threads=(1,), repeats=3)
    parser.add_argument('--data', required=True, help='folder of c4-train.*.json.gz')
    parser.add_argument('--tokenizer', required=True)
    args, rows = parser.parse_args(), []
    torch.set_num_threads(1)
    source = TextSource.local(f'{args.data}/c4-train.*.json.gz')
    t5 = load_tokenizer(args.tokenizer)
    as_bytes = load_tokenizer('bytes')
    with tempfile.TemporaryDirectory() as d:
        cache = prepare(source, t5, f'{d}/cache', progress=False)
        cases = cases_of(source, cache, t5, as_bytes)
        speed = {k: [] for k in cases}
        for _ in range(args.repeats):  # interleaved: a busy moment disturbs all of them
            for k,f in cases.items():
                speed[k].append(f()/1e6)
    for k,v in speed.items():
        goal = None if 'alone' in k else GOAL
        what = f'{k}: million useful tokens/s'
        rows.append(row(what, median(v), goal, low=min(v), high=max(v)))
    what = 'share of its time that a training loop waits, llama_9m with the T5 vocabulary, %'
    rows.append(row(what, waiting(source, t5), 2, higher=False))
    finish('feed', rows, args.out, threads=[1])

if __name__=='__main__': main()
