"""The feed: useful tokens a second on one core, from text, from a token cache, and of the tokenizer alone.

`python benchmarks/feed.py --data DIR/c4/en --tokenizer DIR/t5-base` prints the table and writes benchmarks/results/feed.json.
Useful: not padding. `first` is one pass over the sample by a process that has met none of its words, `later` the last third after the others."""
import argparse, os, statistics, sys, tempfile, time
from pathlib import Path
os.environ['TOKENIZERS_PARALLELISM'] = 'false'
import torch
import lowrank_nb.data as D
from common import row, save, show
from lowrank_nb.data import TextSource, TrainStream, load_tokenizer, prepare, texts_of

GOAL = 1.0 # million useful tokens a second

def one_pass(source, tok, packing, forget=True, batch_size=64):
    "Useful tokens a second over one pass."
    if forget: D._words.clear()
    s, n, t = TrainStream(source, tok, batch_size, packing=packing), 0, time.perf_counter()
    while True:
        b = next(s)
        if s.epoch: return n/(time.perf_counter()-t)
        n += int((b['labels']!=-100).sum())

def alone(texts, tok, cut):
    "The tokenizer's own batch call."
    be = D.Tokenizer.from_str(tok._tokenizer.to_str()); be.no_padding()
    be.enable_truncation(cut) if cut else be.no_truncation()
    t = time.perf_counter()
    return sum(len(e) for e in be.encode_batch_fast(texts))/(time.perf_counter()-t)

def waiting(source, tok, updates=130)->float: # per cent
    "Share of its time that a training loop waits for batches: llama_9m, 8 x 256 tokens, on one thread without workers."
    from lowrank_nb.factorize import FactorizeConfig, build_model, factorize
    from lowrank_nb.optimizers import make_optimizer
    from lowrank_nb.schedules import make_schedule
    from lowrank_nb.training import Trainer
    class Timed:
        spent = 0.
        def __init__(self, s): self.s = s
        def __next__(self):
            t = time.perf_counter(); b = next(self.s); self.spent += time.perf_counter()-t
            return b
    model = factorize(build_model('llama_9m'), FactorizeConfig(attn_rank=32, mlp_rank=32)); opt = make_optimizer('adamw', model)
    stream = Timed(TrainStream(source, tok, 8))      # a block of 1,000 documents is read and tokenized at once: 130 updates read a second one
    t = Trainer(model, opt, make_schedule(opt, 'const', updates, warmup_steps=0), stream, updates); start = time.perf_counter(); t.fit()
    return 100*stream.spent/(time.perf_counter()-start)

def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--data', required=True, help='folder of c4-train.*.json.gz'); p.add_argument('--tokenizer', required=True); p.add_argument('--rounds', type=int, default=3)
    p.add_argument('--out', default=str(Path(__file__).parent/'results'/'feed.json'))
    a = p.parse_args(); torch.set_num_threads(1)
    src, t5, by = TextSource.local(f'{a.data}/c4-train.*.json.gz'), load_tokenizer(a.tokenizer), load_tokenizer('bytes')
    head, tail = TextSource(src.files[:-1]), TextSource(src.files[-1:])
    texts = [t for f in src.files for t in texts_of(f)]
    with tempfile.TemporaryDirectory() as d:
        cache = prepare(src, t5, f'{d}/c', progress=False)
        cases = {}
        for name,pk in (('padded',False),('packed',True)):
            def later(pk=pk): one_pass(head, t5, pk); return one_pass(tail, t5, pk, forget=False)
            cases |= {f't5 tokenizer alone, {name}': lambda pk=pk: alone(texts, t5, None if pk else 256), f't5 {name}, first': lambda pk=pk: one_pass(src, t5, pk), f't5 {name}, later': later,
                      f't5 {name}, cache': lambda pk=pk: one_pass(cache, t5, pk), f'bytes {name}': lambda pk=pk: one_pass(src, by, pk)}
        speed = {k: [] for k in cases}
        for _ in range(a.rounds):                                    # interleaved, so that a busy moment hits all alike
            for k,f in cases.items(): speed[k].append(f()/1e6)
    rows = {k: dict(median=round(statistics.median(v),3), low=round(min(v),3), high=round(max(v),3)) for k,v in speed.items()}
    for k,v in rows.items(): print(f"{k:32s} {v['median']:7.2f} M tokens/s ({v['low']:.2f} to {v['high']:.2f}){'' if 'alone' in k else '  goal met' if v['median']>=GOAL else '  goal missed'}")
    flat = [row(f'{k}: million useful tokens/s', v['median'], None if 'alone' in k else GOAL, low=v['low'], high=v['high']) for k,v in rows.items()]
    flat.append(row('share of its time that a training loop waits, llama_9m with the T5 vocabulary, %', waiting(src, t5), 2, False))
    show(flat[-1:]); save('feed', flat, f'python benchmarks/feed.py --data C4 --tokenizer T5 --rounds {a.rounds}', a.out, threads=[1])

if __name__=='__main__': sys.exit(main())
