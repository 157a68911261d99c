"""What the benchmarks share: interleaved timing, facts about the run, a table beside its goals."""
import argparse
import os
import platform
import sys
import time
from pathlib import Path
from statistics import median, quantiles

import torch

from lowrank_nb.files import git_commit, write_json

HERE = Path(__file__).resolve().parent
RANKS = dict(llama_9m=32, llama_60m=128, llama_130m=256, llama_350m=256, llama_1b=512)
NEVER = 10**9  # updates between exact steps: as good as never

def flag_parser(doc:str, threads:tuple=(1, 2), repeats:int=9)->argparse.ArgumentParser:
    "Return a parser with the flags that every benchmark has."
    formatter = argparse.ArgumentDefaultsHelpFormatter
    p = argparse.ArgumentParser(description=doc, formatter_class=formatter)
    p.add_argument('--threads', type=int, nargs='+', default=list(threads), help='thread counts')
    p.add_argument('--repeats', type=int, default=repeats, help='interleaved runs of a candidate')
    p.add_argument('--out', help='results file; default: results/<script>.json')
    return p

def seconds_of(f, sync=lambda: None)->float:
    "Time one call."
    sync()
    start = time.perf_counter()
    f()
    sync()
    return time.perf_counter()-start

def interleave(candidates:dict, repeats:int=9, sync=lambda: None)->dict[str,list[float]]:
    """Time candidates in turn, so that what disturbs one disturbs the others. The first round
    warms up and does not count."""
    seconds = {k: [] for k in candidates}
    for i in range(repeats+1):
        for k,f in candidates.items():
            s = seconds_of(f, sync)
            if i: seconds[k].append(s)
    return seconds

def medians(seconds:dict)->dict[str,float]:
    "Return the median of each candidate."
    return {k: median(v) for k,v in seconds.items()}

def ratio(a:list[float], b:list[float])->tuple[float,float,float]:
    "Return median and quartiles of a/b, run by run."
    ratios = [x/y for x,y in zip(a, b)]
    low, _, high = quantiles(ratios, n=4) if len(ratios)>1 else ratios*3
    return median(ratios), low, high

def processor()->str:
    "Name the CPU."
    books = Path('/proc/cpuinfo')
    if not books.exists():
        return platform.machine()
    names = [line.split(':')[1].strip() for line in books.open() if line.startswith('model name')]
    return names[0] if names else platform.machine()

def facts()->dict:
    "Return where and with what this was measured."
    cpu = f'CPU ({processor()}, {os.cpu_count()} cores)'
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu
    return dict(commit=git_commit(HERE), torch=torch.__version__, device=device,
                python=platform.python_version())

def command()->str:
    "Return the command line of this run, from the top of a checkout."
    return ' '.join(['python', f'benchmarks/{Path(sys.argv[0]).name}', *sys.argv[1:]])

def row(what:str, value:float, goal:float|None=None, higher:bool=True, **more)->dict:
    "Return a measured figure beside its goal; `higher`: more is better."
    met = None
    if goal is not None:
        met = bool(value>=goal if higher else value<=goal)
    return dict(what=what, value=value, goal=goal, higher=higher, met=met, **more)

def ratio_row(what:str, a:list[float], b:list[float], goal:float|None=None, higher:bool=True,
              **more)->dict:
    "Return the row of a ratio of seconds, with its quartiles."
    value, low, high = ratio(a, b)
    return row(what, value, goal, higher, low=low, high=high, **more)

def show(rows:list[dict]):
    "Print the rows as a table."
    width = max(len(r['what']) for r in rows)
    for r in rows:
        line = f"{r['what']:{width}}  {r['value']:.4g}"
        if 'low' in r:
            line += f"  [{r['low']:.3g}, {r['high']:.3g}]"
        if r['goal'] is not None:
            sign = '>=' if r['higher'] else '<='
            line += f"  goal {sign} {r['goal']:g}: {'met' if r['met'] else 'missed'}"
        print(line, flush=True)

def finish(name:str, rows:list[dict], out:str|None=None, **more):
    "Show the rows and write them, with command and facts, to results/<name>.json."
    show(rows)
    path = Path(out) if out else HERE/'results'/f'{name}.json'
    result = dict(command=command(), **facts(), **more, rows=rows)
    if path==Path(os.devnull): return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result)
    print(path.name, 'written')
