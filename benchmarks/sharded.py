"""Exact updates over two gloo processes, three ways: whole factors on both and the matrices shared out (DDP); factors cut by rows and gathered where a matrix is done (--fsdp);
B cut by rows, A by columns and only inner products summed, the r x r algebra shared out. Seconds of one exact update of the first blocks, and the numbers that a process sends."""
import os, tempfile, time
import torch
import torch.distributed as dist
import torch.distributed.nn.functional   # before any group is made, as in `optimizers`
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from common import command, median, parser, ratio, row, save, show
from exact import jobs_of
from lowrank_nb.loro import by_sweeps, combine, exact_update, grams, inverses
from lowrank_nb.optimizers import exact_updates_shared, exact_updates_sharded, job_cost, owners
from lowrank_nb.sharding import leave

def by_inner_products(jobs:list[tuple], costs:list[float])->list[tuple]: # this process's parts
    "Exact updates of pairs whose B is cut by rows and A by columns: no factor leaves its process."
    world, rank = dist.get_world_size(), dist.get_rank(); r = [j[0].shape[1] for j in jobs]; own = owners(costs, world)
    flat = torch.cat([x.flatten() for j in jobs for x in grams(*j[:4])]); dist.all_reduce(flat)
    tables = [x.view(6, k, k).unbind() for x,k in zip(flat.split([6*k*k for k in r]), r)]
    mine = lambda o: [i for i in range(len(jobs)) if own[i]==o]
    coefs = {i: torch.stack(by_sweeps(tables[i], *inverses(tables[i]), jobs[i][4])) for i in mine(rank)}
    for o in range(world):
        sent = torch.cat([coefs[i].flatten() for i in mine(o)]) if o==rank else flat.new_empty(sum(4*r[i]**2 for i in mine(o)))
        dist.broadcast(sent, o); coefs.update(zip(mine(o), (x.view(4, r[i], r[i]) for x,i in zip(sent.split([4*r[i]**2 for i in mine(o)]), mine(o)))))
    return [combine(*j[:4], coefs[i].unbind()) for i,j in enumerate(jobs)]

def sends(jobs:list[tuple], way:str, world:int)->float: # millions of numbers, of one process, on the mean
    "By arithmetic: results to the others; both factors' and both directions' parts to the owner and both factors back; six tables summed in a ring and four handed on."
    others = (world-1)/world
    each = dict(shared=lambda m,n,r: r*(m+n)*others, gathered=lambda m,n,r: (2+1)*r*(m+n)*others/world, products=lambda m,n,r: (2*6+4)*r*r*others)
    return sum(each[way](len(j[0]), j[1].shape[1], j[0].shape[1]) for j in jobs)/1e6

def candidates(jobs:list[tuple])->dict:
    "The three ways on the same factors."
    mesh = init_device_mesh('cpu', (dist.get_world_size(),)); rank, world = dist.get_rank(), dist.get_world_size()
    cut = [(*(distribute_tensor(x, mesh, [Shard(0)]) for x in j[:4]), j[4]) for j in jobs]
    part = [(*(x.chunk(world, d)[rank].contiguous() for x,d in zip(j[:4], (0,1,0,1))), j[4]) for j in jobs]; costs = [job_cost(j) for j in jobs]
    return dict(shared=lambda: exact_updates_shared(jobs), gathered=lambda: exact_updates_sharded(cut), products=lambda: by_inner_products(part, costs))

def agree(jobs:list[tuple], ways:dict):
    "All of them give the product of the single update."
    world = dist.get_world_size()
    def whole(x, d): xs = [None]*world; dist.all_gather_object(xs, x); return torch.cat(xs, d)
    for j,s,g,p in zip(jobs, *(f() for f in ways.values())):
        b,a = exact_update(*j); want = b@a
        for B,A in (s, (whole(g[0], 0), whole(g[1], 0)), (whole(p[0], 0), whole(p[1], 1))): assert (B@A-want).norm() <= 1e-4*want.norm(), float((B@A-want).norm()/want.norm())

def measure(rank:int, world:int, file:str, a):
    torch.set_num_threads(1); dist.init_process_group('gloo', init_method=f'file://{file}', rank=rank, world_size=world); rows = []
    for name,r in (('llama_60m',128),('llama_130m',256),('llama_350m',256)):
        torch.manual_seed(0); jobs = jobs_of(name, r, a.blocks, .3); ways = candidates(jobs); agree(jobs[:7], candidates(jobs[:7])); sec = {k: [] for k in ways}
        for i in range(a.repeats+1):
            for k,f in ways.items():
                dist.barrier(); start = time.perf_counter(); f(); dist.barrier()
                if i: sec[k].append(time.perf_counter()-start)
        for k in ('gathered','products'): v,lo,hi = ratio(sec[k], sec['shared']); rows.append(row(f'{name} r={r}: {k}, times the time of whole factors', v, low=lo, high=hi, seconds=median(sec[k])))
        v,lo,hi = ratio(sec['gathered'], sec['products']); rows.append(row(f'{name} r={r}: gathered, times the time of inner products', v, low=lo, high=hi))
        rows += [row(f'{name} r={r}: {k}, millions of numbers that a process sends', sends(jobs, k, world)) for k in ways]
    if rank==0: show(rows); save('sharded', rows, command(), a.out, threads=[1], processes=world)
    leave()

if __name__=='__main__':
    p = parser(__doc__); p.add_argument('--blocks', type=int, default=4, help='blocks of the model to update'); p.set_defaults(threads=[1]); a = p.parse_args()
    with tempfile.TemporaryDirectory() as d: torch.multiprocessing.spawn(measure, (2, os.path.join(d, 'store'), a), nprocs=2)
