"""Text generation: tokens/s of a prompt (prefill) and of single tokens (decode), with a key-value
cache, dense beside factorized. Decoding one sequence reads every weight once a token, so the ideal
speed is the ratio of the bytes read."""
import torch

from common import RANKS, finish, flag_parser, interleave, median, ratio_row, row
from lowrank_nb.factorize import FactorizeConfig, factorize
from lowrank_nb.models import build_model

METHODS = dict(dense={}, lowrank={}, lost=dict(sparsity=.01))

def synchronize():
    if torch.cuda.is_available():
        torch.cuda.synchronize()

def new_model(name:str, method:str, device:str, dtype:torch.dtype):
    "Build a model that is ready to generate."
    torch.manual_seed(0)
    model, rank = build_model(name), RANKS[name]
    how = FactorizeConfig(method, attn_rank=rank, mlp_rank=rank, **METHODS[method])
    if method!='dense': factorize(model, how)
    return model.to(device, dtype).eval()

def bytes_read(model)->int:
    "Count the bytes of the weights that one token reads: all but the embedding's."
    embedding = model.get_input_embeddings().weight
    return sum(p.numel()*p.element_size() for p in model.parameters() if p is not embedding)

@torch.no_grad()
def prefill(model, ids):
    "Read a prompt."
    model(input_ids=ids, use_cache=True, logits_to_keep=1)

@torch.no_grad()
def decode(model, token, tokens:int):
    "Generate greedily from a first token (batch, 1), one at a time."
    cache = None
    for _ in range(tokens):
        out = model(input_ids=token, past_key_values=cache, use_cache=True)
        token = out.logits[:, -1:].argmax(-1)
        cache = out.past_key_values

def rows_of(name:str, batch:int, args)->list[dict]:
    "Measure one model and batch size."
    dtype = getattr(torch, args.dtype)
    models = {m: new_model(name, m, args.device, dtype) for m in args.methods}
    size = next(iter(models.values())).config.vocab_size
    ids = torch.randint(0, size, (batch, args.prompt), device=args.device)
    def prompt(model): return lambda: prefill(model, ids)
    def answer(model): return lambda: decode(model, ids[:, :1], args.tokens)
    first = interleave({m: prompt(o) for m,o in models.items()}, args.repeats, synchronize)
    then = interleave({m: answer(o) for m,o in models.items()}, args.repeats, synchronize)
    rows = []
    read = {m: bytes_read(o) for m,o in models.items()}
    for m in models:
        label = f'{name} {m}, batch {batch}'
        speeds = batch*args.prompt/median(first[m]), batch*args.tokens/median(then[m])
        rows += [row(f'{label}: {what}, tokens/s', speed)
                 for what,speed in zip(('prefill', 'decode'), speeds)]
        if m=='dense': continue
        ideal = read['dense']/read[m]
        rows.append(ratio_row(f'{label}: prefill, times dense', first['dense'], first[m]))
        goal = .85*ideal if batch==1 else None
        rows.append(ratio_row(f'{label}: decode, times dense', then['dense'], then[m], goal,
                              ideal=ideal))
    return rows

def add_flags(parser):
    "Add the flags that `rows_of` reads."
    parser.add_argument('--prompt', type=int, default=256, help='tokens of the prompt')
    parser.add_argument('--tokens', type=int, default=16, help='tokens to generate')
    parser.add_argument('--batches', type=int, nargs='+', default=[1, 32])

def main():
    parser = flag_parser(__doc__, threads=(1,), repeats=5)
    add_flags(parser)
    parser.add_argument('--models', nargs='+', default=['llama_60m'])
    parser.add_argument('--methods', nargs='+', default=list(METHODS))
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', default='float32', choices=('bfloat16', 'float32'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads[0])
    rows = [r for name in args.models for batch in args.batches for r in rows_of(name, batch, args)]
    finish('decode', rows, args.out, dtype=args.dtype, threads=args.threads)

if __name__=='__main__': main()
