"""What the benchmarks share: interleaved timing in one process, facts about the run, a table against goals, a results file."""
import argparse, json, os, platform, subprocess, sys, time
from pathlib import Path
from statistics import median, quantiles

import torch

here = Path(__file__).resolve().parent

def parser(doc:str)->argparse.ArgumentParser:
    "The flags that every benchmark has."
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument('--threads', type=int, nargs='+', default=[1,2], help='numbers of threads to measure with')
    p.add_argument('--repeats', type=int, default=9, help='interleaved runs of each candidate')
    p.add_argument('--out', default=None, help='results file; default: results/<script>.json beside the script')
    return p

def interleave(candidates:dict, repeats:int=9, sync=lambda: None)->dict[str,list[float]]:
    "Seconds of each candidate, run in turn: what disturbs one disturbs the others. The first round warms up and does not count."
    out = {k: [] for k in candidates}
    for i in range(repeats+1):
        for k,f in candidates.items():
            sync(); start = time.perf_counter(); f(); sync()
            if i: out[k].append(time.perf_counter()-start)
    return out

def peak_rss()->int: # bytes
    "Most memory that this process has held, from Linux's own books (getrusage would count the parent's too)."
    return 1024*int(next(l.split()[1] for l in open('/proc/self/status') if l.startswith('VmHWM')))

def ratio(a:list[float], b:list[float])->tuple[float,float,float]: # median, lower and upper quartile of a/b, run by run
    r = sorted(x/y for x,y in zip(a,b)); q = quantiles(r, n=4) if len(r)>1 else [r[0]]*3
    return median(r), q[0], q[2]

def facts()->dict:
    "Where and with what this was measured."
    git = lambda *a: subprocess.run(['git',*a], capture_output=True, text=True, cwd=here).stdout.strip()
    cpu = next((l.split(':')[1].strip() for l in open('/proc/cpuinfo') if l.startswith('model name')), platform.machine()) if os.path.exists('/proc/cpuinfo') else platform.machine()
    dirty = '+' if git('status','--porcelain','--untracked-files=no') else ''
    return dict(commit=git('rev-parse','--short','HEAD')+dirty, torch=torch.__version__, device=torch.cuda.get_device_name() if torch.cuda.is_available() else f'CPU ({cpu}, {os.cpu_count()} cores)', python=platform.python_version())

def command()->str:
    "The command line of this run, from the top of a checkout."
    return ' '.join(['python', f'benchmarks/{Path(sys.argv[0]).name}', *sys.argv[1:]])

def row(what:str, value:float, goal:float|None=None, higher:bool=True, **more)->dict:
    "A measured figure beside its goal; `higher`: more is better."
    met = None if goal is None else bool(value>=goal if higher else value<=goal)
    return dict(what=what, value=value, goal=goal, higher=higher, met=met, **more)

def show(rows:list[dict]):
    "Print the rows as a table."
    wide = max(len(r['what']) for r in rows)
    for r in rows:
        spread = f"  [{r['low']:.3g}, {r['high']:.3g}]" if 'low' in r else ''
        goal = '' if r['goal'] is None else f"  goal {'>=' if r['higher'] else '<='} {r['goal']:g}: {'met' if r['met'] else 'missed'}"
        print(f"{r['what']:{wide}}  {r['value']:.4g}{spread}{goal}", flush=True)

def save(name:str, rows:list[dict], command:str, out:str|None=None, **more):
    "Write the rows and the facts to results/<name>.json."
    p = Path(out) if out else here/'results'/f'{name}.json'; p.parent.mkdir(parents=True, exist_ok=True)
    p.write_text(json.dumps(dict(command=command, **facts(), **more, rows=rows), indent=1)+'\n'); print(p.name, 'written')
