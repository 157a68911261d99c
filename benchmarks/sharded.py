"""Exact updates over two gloo processes, three ways. `shared`: whole factors on both, the matrices
split across processes (DDP). `gathered`: factors sharded by rows, gathered on the process that does
a matrix (--fsdp). `products`: B sharded by rows, A by columns, only inner products are summed.

Seconds of one exact update of the first blocks, and the numbers that a process sends."""
import os
import tempfile
import time

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before a group is made, as in `exact_steps`
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from common import finish, flag_parser, median, ratio_row, row
from exact import jobs_of
from lowrank_nb.exact_steps import (assign_jobs, exact_updates_shared, exact_updates_sharded,
                                    job_cost)
from lowrank_nb.loro_fast import (
    InnerProducts, coefs_by_sweeps, combine, fast_exact_update, gram_inverses, inner_products)
from lowrank_nb.process import leave_process_group

MODELS = (('llama_60m', 128), ('llama_130m', 256), ('llama_350m', 256))

def reduced_tables(jobs:list[tuple], ranks:list[int])->list[tuple]:
    "Sum the inner products of each pair over the processes."
    flat = torch.cat([x.flatten() for j in jobs for x in inner_products(*j[:4])])
    dist.all_reduce(flat)
    pieces = flat.split([6*k*k for k in ranks])
    return [InnerProducts(*x.view(6, k, k).unbind()) for x,k in zip(pieces, ranks)]

def by_inner_products(jobs:list[tuple], costs:list[float])->list[tuple]:
    """Update pairs whose B is sharded by rows and A by columns; no factor leaves its process.
    Returns the parts of this process."""
    world, rank = dist.get_world_size(), dist.get_rank()
    ranks = [j[0].shape[1] for j in jobs]
    owner = assign_jobs(costs, world)
    tables = reduced_tables(jobs, ranks)
    def jobs_of_process(o): return [i for i in range(len(jobs)) if owner[i]==o]
    coefficients = {}
    for i in jobs_of_process(rank):
        G = InnerProducts(*(x[None] for x in tables[i]))
        found, arrived = coefs_by_sweeps(G, *gram_inverses(G), jobs[i][4])
        assert arrived.all()
        coefficients[i] = torch.cat(found)
    for o in range(world):
        theirs = jobs_of_process(o)
        sizes = [4*ranks[i]**2 for i in theirs]
        if o==rank:
            sent = torch.cat([coefficients[i].flatten() for i in theirs])
        else: sent = torch.empty(sum(sizes))
        dist.broadcast(sent, o)
        for i,x in zip(theirs, sent.split(sizes)):
            coefficients[i] = x.view(4, ranks[i], ranks[i])
    return [combine(*j[:4], coefficients[i].unbind()) for i,j in enumerate(jobs)]

def millions_sent(jobs:list[tuple], way:str, world:int)->float:
    "Return the millions of numbers that a process sends, by arithmetic, on the mean."
    others = (world-1)/world
    def numbers(m, n, r):
        if way=='shared': return r*(m+n)*others                    # results to the others
        if way=='gathered': return (2+1)*r*(m+n)*others/world      # two parts there, one back
        return (2*6+4)*r*r*others                                  # six tables summed, four sent
    return sum(numbers(len(B), A.shape[1], B.shape[1]) for B,A,*_ in jobs)/1e6

def candidates(jobs:list[tuple])->dict:
    "Return the three ways on the same factors."
    rank, world = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh('cpu', (world,))
    def by_rows(x): return distribute_tensor(x, mesh, [Shard(0)])
    sharded = [(*map(by_rows, j[:4]), j[4]) for j in jobs]
    def part(x, dim): return x.chunk(world, dim)[rank].contiguous()
    parts = [(*(part(x, d) for x,d in zip(j[:4], (0, 1, 0, 1))), j[4]) for j in jobs]
    costs = [job_cost(j) for j in jobs]
    return dict(shared=lambda: exact_updates_shared(jobs),
                gathered=lambda: exact_updates_sharded(sharded),
                products=lambda: by_inner_products(parts, costs))

def whole(part, dim:int):
    "Put together the parts of all processes."
    parts = [None]*dist.get_world_size()
    dist.all_gather_object(parts, part)
    return torch.cat(parts, dim)

def check_agreement(jobs:list[tuple]):
    "Compare every way with the single update."
    shared, gathered, products = (f() for f in candidates(jobs).values())
    for job,s,g,p in zip(jobs, shared, gathered, products):
        b, a = fast_exact_update(*job)
        want = b@a
        results = s, (whole(g[0], 0), whole(g[1], 0)), (whole(p[0], 0), whole(p[1], 1))
        for B,A in results:
            assert (B@A-want).norm() <= 1e-4*want.norm()

def time_ways(ways:dict, repeats:int)->dict[str,list[float]]:
    "Time the ways in turn, from barrier to barrier."
    seconds = {k: [] for k in ways}
    for i in range(repeats+1):
        for k,f in ways.items():
            dist.barrier()
            start = time.perf_counter()
            f()
            dist.barrier()
            if i:
                seconds[k].append(time.perf_counter()-start)
    return seconds

def rows_of(name:str, r:int, args)->list[dict]:
    "Measure one model."
    torch.manual_seed(0)
    jobs = jobs_of(name, r, args.blocks, .3)
    where = f'{name} r={r}'
    check_agreement(jobs[:7])
    s, rows = time_ways(candidates(jobs), args.repeats), []
    for k in ('gathered', 'products'):
        what = f'{where}: {k}, times the time of whole factors'
        rows.append(ratio_row(what, s[k], s['shared'], seconds=median(s[k])))
    what = f'{where}: gathered, times the time of inner products'
    rows.append(ratio_row(what, s['gathered'], s['products']))
    world = dist.get_world_size()
    for k in s:
        what = f'{where}: {k}, millions of numbers that a process sends'
        rows.append(row(what, millions_sent(jobs, k, world)))
    return rows

def measure(rank:int, world:int, store:str, args):
    "Run the benchmark in one of the processes."
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=world)
    rows = [r for model in MODELS for r in rows_of(*model, args)]
    if rank==0:
        finish('sharded', rows, args.out, threads=[1], processes=world)
    leave_process_group()

def main():
    parser = flag_parser(__doc__, threads=(1,))
    parser.add_argument('--blocks', type=int, default=4, help='blocks of the model to update')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as d:
        store = os.path.join(d, 'store')
        torch.multiprocessing.spawn(measure, (2, store, args), nprocs=2)

if __name__=='__main__': main()
