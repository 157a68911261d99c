"""One product for the first factors of layers that read the same input (q, k, v; gate, up), beside
one product per layer. Forward and backward, the layers alone. Joining the factors is timed too."""
import torch

from common import finish, flag_parser, interleave, ratio_row, row

WAYS = 'separate', 'joined'
# model: hidden size, intermediate size, rank
SIZES = dict(llama_60m=(512, 1376, 128), llama_130m=(768, 2048, 256), llama_1b=(2048, 5461, 512))

def factors(hidden:int, outs:list[int], rank:int, device:str)->tuple[list, list]:
    "Return the factors B (out x rank) and A (rank x in) of layers that share an input."
    torch.manual_seed(0)
    def random(*shape):
        return torch.randn(*shape, device=device).div_(hidden**.5).requires_grad_()
    return [random(out, rank) for out in outs], [random(rank, hidden) for _ in outs]

def outputs(way:str, x, B:list, A:list)->list:
    "Return B A x of each layer."
    if way=='separate':
        return [x @ a.T @ b.T for b,a in zip(B, A)]
    middles = (x @ torch.cat(A).T).split(A[0].shape[0], -1)
    return [h @ b.T for h,b in zip(middles, B)]

def passes(way:str, x, B:list, A:list, g:list):
    "Return a function that runs both passes."
    def run():
        for p in (x, *B, *A): p.grad = None
        torch.autograd.backward(outputs(way, x, B, A), g)
    return run

def largest_difference(x, B:list, A:list, g:list)->float:
    "Return the largest relative difference of all gradients between the two ways."
    def gradients(way):
        passes(way, x, B, A, g)()
        return [p.grad.clone() for p in (x, *B, *A)]
    pairs = zip(*map(gradients, WAYS))
    return max(float((u-v).norm()/u.norm()) for u,v in pairs)

def measure(label:str, hidden:int, outs:list[int], rank:int, args)->list[dict]:
    "Return the rows of one group of layers: training, and one token without gradients."
    B, A = factors(hidden, outs, rank, args.device)
    x = torch.randn(args.tokens, hidden, device=args.device, requires_grad=True)
    g = [torch.randn(args.tokens, out, device=args.device) for out in outs]
    sync = torch.cuda.synchronize if args.device=='cuda' else lambda: None
    s = interleave({w: passes(w, x, B, A, g) for w in WAYS}, args.repeats, sync)
    rows = [ratio_row(f'{label}: training, joined times faster', *(s[w] for w in WAYS))]
    token = x[:1].detach()
    with torch.no_grad():
        ways = {w: (lambda w=w: outputs(w, token, B, A)) for w in WAYS}
        s = interleave(ways, 10*args.repeats, sync)
    rows.append(ratio_row(f'{label}: one token, joined times faster', *(s[w] for w in WAYS)))
    what = f'{label}: largest relative difference of gradients'
    return [*rows, row(what, largest_difference(x, B, A, g), 1e-5, higher=False)]

def main():
    parser, rows = flag_parser(__doc__), []
    parser.add_argument('--tokens', type=int, default=1024)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    for t in args.threads:
        torch.set_num_threads(t)
        for name,(hidden,intermediate,rank) in SIZES.items():
            groups = {'q, k, v': [hidden]*3, 'gate, up': [intermediate]*2}
            for group,outs in groups.items():
                rows += measure(f'{name}, {t} threads, {group}', hidden, outs, rank, args)
    finish('shared_inputs', rows, args.out, threads=args.threads, tokens=args.tokens)

if __name__=='__main__': main()
