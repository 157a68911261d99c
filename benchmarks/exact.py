"""The exact update of whole blocks against its readable form (QR and an SVD of size 2r for each matrix, float32), its accuracy in hard cases, and its share of a training step."""
import torch
from common import command, interleave, median, parser, ratio, row, save, show
from lowrank_nb.factorize import FactorizeConfig, block_linears, build_model, factorize
from lowrank_nb.evaluate import LMLoss
from lowrank_nb.loro import exact_update, exact_update_dense, exact_update_qr, moved
from lowrank_nb.lowrank import init_factors
from lowrank_nb.optimizers import LOROAdamW, exact_updates, param_groups

def jobs_of(name:str, rank:int, blocks:int, rms:float, lr:float=.01)->list[tuple]:
    "Fresh xavier factors of the first blocks' layers and directions of the given root mean square."
    g, out = torch.Generator().manual_seed(0), []
    model = build_model(name, 'meta')
    for n in list(block_linears(model))[:7*blocks]:
        m,k = model.get_submodule(n).weight.shape; B,A = torch.empty(m,rank), torch.empty(rank,k); init_factors(B, A, 'xavier')
        out.append((B, A, rms*torch.randn(m,rank,generator=g), rms*torch.randn(rank,k,generator=g), lr))
    return out

def error(job, ba)->float:
    want = exact_update_dense(*(x.double() for x in job[:4]), job[4])
    return float((ba[0].double()@ba[1].double()-want).norm()/want.norm())

def hard_cases(m=512, n=512, r=128):
    g = torch.Generator().manual_seed(1); rn = lambda *s: torch.randn(*s, generator=g, dtype=torch.float64); q = lambda a: torch.linalg.qr(rn(a,r))[0]
    def factors(c): s = torch.logspace(0, -c, r, dtype=torch.float64); o = lambda: torch.linalg.qr(rn(r,r))[0]; return (q(m)*s)@o(), o()@(q(n)*s).T
    def job(B, A, rms=.01, lr=.01): return B.float(), A.float(), (rms*rn(m,r)).float(), (rms*rn(r,n)).float(), lr
    for c in (1,2,3,4,5): yield f'condition 1e{c}', job(*factors(c))
    B,A = factors(.5); z = B.clone(); z[:,3] = 0; yield 'a zero column', job(z, A)
    z = B.clone(); z[:,3] = z[:,4]; yield 'a doubled column', job(z, A)
    yield 'constant factors', job(torch.full_like(B,.1), torch.full_like(A,.1))
    B,A = factors(0.); yield 'near ties (large step)', job(B, A, 1., .05)

def excess(job, ba)->float: # how much further from the moved matrix than the best approximation of rank r, relative
    M = moved(*(x.double() for x in job[:4]), job[4]); best = torch.linalg.svdvals(M)[job[0].shape[1]:].norm()
    return float((M-ba[0].double()@ba[1].double()).norm()/best-1)

if __name__=='__main__':
    p = parser(__doc__); p.add_argument('--blocks', type=int, default=2, help='blocks of the model to update'); p.add_argument('--rms', type=float, default=.3, help="root mean square of Adam's directions"); a = p.parse_args()
    rows = []
    for name,rank,goals in (('llama_60m',128,{1:3,2:4}),('llama_130m',256,{1:3,2:5})):
        jobs = jobs_of(name, rank, a.blocks, a.rms)
        rows.append(row(f'{name} r={rank}: largest error of a product', max(error(j, exact_update(*j)) for j in jobs[:7]), 1e-4, False))
        for t in a.threads:
            torch.set_num_threads(t); routes = []
            s = interleave(dict(readable=lambda: [exact_update_qr(*j) for j in jobs], ours=lambda: exact_updates(jobs, routes)), max(3, a.repeats//3))
            v,lo,hi = ratio(s['readable'], s['ours'])
            rows.append(row(f'{name} r={rank}, {t} threads: times faster', v, goals.get(t), low=lo, high=hi, seconds={k: median(x) for k,x in s.items()}, svd_routes=routes.count('svd'), matrices=len(jobs)))
    torch.set_num_threads(max(a.threads))
    for what,j in hard_cases():
        routes = []; ba = exact_update(*j, routes)
        if 'ties' in what: rows.append(row(f'{what}: further from the moved matrix than the best', excess(j, ba), 1e-4, False, route=routes[0]))
        else: rows.append(row(f'{what}: error of the product', error(j, ba), 1e-4, False, route=routes[0]))
        s = interleave(dict(readable=lambda: exact_update_qr(*j[:4], j[4]), ours=lambda: exact_update(*j)), a.repeats); v,lo,hi = ratio(s['ours'], s['readable'])
        rows.append(row(f'{what}: time over the readable form', v, 1.2, False, low=lo, high=hi))
    model = factorize(build_model('llama_60m'), FactorizeConfig(attn_rank=128, mlp_rank=128)); loss = LMLoss(model); x = torch.randint(0, 32000, (4,256))
    lazy,exact = (LOROAdamW(param_groups(model), lr=1e-5, exact_every=k, refresh='all', refresh_every=10**9) for k in (10**9,1))
    def grads(): model.zero_grad(); loss(x, x)[0].backward()
    grads(); s = interleave(dict(forward_backward=grads, lazy=lazy.step, exact=exact.step), 3)
    step, extra = median(s['forward_backward'])+median(s['lazy']), median(s['exact'])-median(s['lazy'])
    for freq,goal in ((500,.1),(50,1.),(1,25.)): rows.append(row(f'60M, 4 x 256 tokens: exact updates at freq {freq}, % of a step', 100*extra/freq/step, goal, False, seconds=dict(step=step, exact=extra)))
    show(rows); save('exact', rows, command(), a.out, threads=a.threads)
