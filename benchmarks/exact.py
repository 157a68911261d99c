"""The exact update of whole blocks beside its readable form (QR and an SVD of size 2r for each
matrix, float32), its accuracy in hard cases, and its share of a training step."""
import torch

from common import NEVER, finish, flag_parser, interleave, medians, ratio_row, row
from lowrank_nb.evaluate import LMLoss
from lowrank_nb.exact_steps import exact_updates
from lowrank_nb.factorize import FactorizeConfig, block_linears, factorize
from lowrank_nb.loro import exact_update_dense, retract, tangent_step
from lowrank_nb.loro_fast import fast_exact_update
from lowrank_nb.lowrank import init_factors
from lowrank_nb.models import build_model
from lowrank_nb.optimizers import LOROAdamW, param_groups

MODELS = (('llama_60m', 128, {1: 3, 2: 4}), ('llama_130m', 256, {1: 3, 2: 5}))  # goals by threads

@torch.no_grad()
def readable_update(B, A, dB, dA, lr:float):
    "Update by QR and an SVD, in the precision of the factors."
    Q = torch.linalg.qr(torch.cat([B, dB], 1))[0]      # (out, 2r)
    P = torch.linalg.qr(torch.cat([A.T, dA.T], 1))[0]  # (in, 2r)
    b, a = retract(tangent_step(Q.T@B, A@P, Q.T@dB, dA@P, lr), B.shape[1])
    return Q@b, a@P.T

def jobs_of(name:str, rank:int, blocks:int, rms:float, lr:float=.01)->list[tuple]:
    "Return fresh xavier factors of the first blocks, with directions of root mean square `rms`."
    g, jobs = torch.Generator().manual_seed(0), []
    model = build_model(name, 'meta')
    for layer in list(block_linears(model))[:7*blocks]:
        m, n = model.get_submodule(layer).weight.shape
        B, A = torch.empty(m, rank), torch.empty(rank, n)
        init_factors(B, A, 'xavier')
        dB, dA = (rms*torch.randn(*shape, generator=g) for shape in ((m, rank), (rank, n)))
        jobs.append((B, A, dB, dA, lr))
    return jobs

def error(job:tuple, new:tuple)->float:
    "Return the relative error of the new product, beside the definition in float64."
    want = exact_update_dense(*(x.double() for x in job[:4]), job[4])
    B, A = (x.double() for x in new)
    return float((B@A-want).norm()/want.norm())

def excess(job:tuple, new:tuple)->float:
    "Return how much further from the moved matrix the result is than the best of rank r."
    moved = tangent_step(*(x.double() for x in job[:4]), job[4])
    best = torch.linalg.svdvals(moved)[job[0].shape[1]:].norm()
    B, A = (x.double() for x in new)
    return float((moved-B@A).norm()/best-1)

class HardCases:
    "Draw factors that are ill-conditioned, rank-deficient or nearly tied."
    def __init__(self, m=512, n=512, rank=128):
        self.m, self.n, self.rank = m, n, rank
        self.generator = torch.Generator().manual_seed(1)

    def normal(self, *shape):
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def basis(self, rows):
        return torch.linalg.qr(self.normal(rows, self.rank))[0]

    def factors(self, decades:float):
        "Return factors whose condition is 10**decades."
        s = torch.logspace(0, -decades, self.rank, dtype=torch.float64)
        B = (self.basis(self.m)*s)@self.basis(self.rank)
        return B, self.basis(self.rank)@(self.basis(self.n)*s).T

    def job(self, B, A, rms=.01, lr=.01):
        dB = rms*self.normal(self.m, self.rank)
        dA = rms*self.normal(self.rank, self.n)
        return *(x.float() for x in (B, A, dB, dA)), lr

    def __iter__(self):
        for c in range(1, 6):
            yield f'condition 1e{c}', self.job(*self.factors(c))
        B, A = self.factors(.5)
        zero, double = B.clone(), B.clone()
        zero[:, 3] = 0
        double[:, 3] = double[:, 4]
        yield 'a zero column', self.job(zero, A)
        yield 'a doubled column', self.job(double, A)
        yield 'constant factors', self.job(torch.full_like(B, .1), torch.full_like(A, .1))
        yield 'near ties (large step)', self.job(*self.factors(0.), 1., .05)

def speed_rows(args)->list[dict]:
    "Time whole blocks."
    rows = []
    for name,rank,goals in MODELS:
        jobs = jobs_of(name, rank, args.blocks, args.rms)
        largest = max(error(j, fast_exact_update(*j)) for j in jobs[:7])
        what = f'{name} r={rank}: largest error of a product'
        rows.append(row(what, largest, 1e-4, higher=False))
        for t in args.threads:
            torch.set_num_threads(t)
            routes = []
            ways = dict(readable=lambda jobs=jobs: [readable_update(*j) for j in jobs],
                        ours=lambda jobs=jobs, routes=routes: exact_updates(jobs, routes))
            s = interleave(ways, max(3, args.repeats//3))
            rows.append(ratio_row(
                f'{name} r={rank}, {t} threads: times faster', s['readable'], s['ours'],
                goals.get(t), seconds=medians(s), svd_routes=routes.count('svd'),
                matrices=len(jobs)))
    return rows

def hard_rows(repeats:int)->list[dict]:
    "Measure accuracy and time of each hard case."
    rows = []
    for what,job in HardCases():
        routes = []
        new = fast_exact_update(*job, routes)
        label = 'error of the product'
        value = error(job, new)
        if 'ties' in what:
            label = 'further from the moved matrix than the best'
            value = excess(job, new)
        rows.append(row(f'{what}: {label}', value, 1e-4, higher=False, route=routes[0]))
        ways = dict(readable=lambda job=job: readable_update(*job),
                    ours=lambda job=job: fast_exact_update(*job))
        s = interleave(ways, repeats)
        rows.append(ratio_row(f'{what}: time over the readable form', s['ours'], s['readable'], 1.2,
                              higher=False))
    return rows

def share_rows()->list[dict]:
    "Measure what exact updates add to a training step of the 60M model."
    model = factorize(build_model('llama_60m'), FactorizeConfig(attn_rank=128, mlp_rank=128))
    loss = LMLoss(model)
    x = torch.randint(0, 32000, (4, 256))
    def optimizer(every):
        return LOROAdamW(param_groups(model), lr=1e-5, exact_every=every, refresh='all',
                         refresh_every=NEVER)
    def gradients():
        model.zero_grad()
        loss(x, x)[0].backward()
    gradients()
    lazy, exact = optimizer(NEVER).step, optimizer(1).step
    s = medians(interleave(dict(passes=gradients, lazy=lazy, exact=exact), 3))
    step, extra = s['passes']+s['lazy'], s['exact']-s['lazy']
    rows = []
    for every,goal in ((500, .1), (50, 1.), (1, 25.)):
        what = f'60M, 4 x 256 tokens: exact updates at freq {every}, % of a step'
        rows.append(row(what, 100*extra/every/step, goal, higher=False,
                        seconds=dict(step=step, exact=extra)))
    return rows

def main():
    parser = flag_parser(__doc__)
    parser.add_argument('--blocks', type=int, default=2, help='blocks of the model to update')
    parser.add_argument('--rms', type=float, default=.3, help="root mean square of directions")
    args = parser.parse_args()
    rows = speed_rows(args)
    torch.set_num_threads(max(args.threads))
    rows += hard_rows(args.repeats)
    finish('exact', [*rows, *share_rows()], args.out, threads=args.threads)

if __name__=='__main__': main()
