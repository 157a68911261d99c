"""Run a function in a process that has torch and Transformers imported already.

Importing them takes several seconds. A server imports them once and forks for every check."""
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from multiprocessing.connection import wait
from types import SimpleNamespace
from unittest.mock import patch

from common import ROOT

# `start` and `join` read the exit code of any process that has ended: one thread at a time.
LOCK = threading.Lock()
SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(['warm'])
SERVER.set_executable(os.path.abspath(sys.executable))  # PATH may name it relative to here

def start_server(env:dict[str,str])->None:
    "Start the server with an environment, which is that of every forked process."
    os.environ.clear()
    os.environ.update(env)
    os.chdir(ROOT/'.ci')  # the server imports `warm` from here
    forked(_check_warm)
    os.chdir(ROOT)

def _check_warm()->None:
    if 'warm' not in sys.modules:
        raise ImportError('the server could not import .ci/warm.py')

def _captured(file:str, function:Callable, args:tuple)->None:
    out = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    multiprocessing.set_start_method(None, force=True)  # data loaders start as they do elsewhere
    function(*args)

def forked(function:Callable, *args:object, code:int=0)->str:
    "Run a function; return what it prints. Raises `RuntimeError` at another exit code."
    with tempfile.NamedTemporaryFile('r') as file:
        process = SERVER.Process(target=_captured, args=(file.name, function, args))
        with LOCK: process.start()
        wait([process.sentinel])
        with LOCK: process.join()
        said = file.read()
    if process.exitcode==code: return said
    name = ' '.join([function.__name__, *map(str, args)])
    raise RuntimeError(f'{name}: exit code {process.exitcode}, expected {code}\n{said[-3000:]}')

def command(name:str, argv:list[str])->None:
    "Run a console script of the package, as its launcher does."
    from importlib.metadata import entry_points
    entry, = entry_points(group='console_scripts', name=name)
    sys.argv = [name, *argv]
    sys.exit(entry.load()())

def run_c4(argv:list[str])->None:
    "Run a training command, as `python run_c4.py` does."
    from lowrank_nb.run_c4 import main
    sys.exit(main(argv))

FORK = multiprocessing.get_context('fork')

def _as_rank(argv:list[str], place:dict[str,str])->None:
    os.environ.update(place)
    run_c4(argv)

def run_c4_twice(argv:list[str])->None:
    "Run a training command on two processes, as torchrun does."
    from torch.distributed.elastic.utils.distributed import get_free_port
    place = dict(WORLD_SIZE='2', LOCAL_WORLD_SIZE='2', MASTER_ADDR='127.0.0.1',
                 MASTER_PORT=str(get_free_port()))
    ranks = [FORK.Process(target=_as_rank, args=(argv, place | dict(RANK=r, LOCAL_RANK=r)))
             for r in '01']
    for process in ranks: process.start()
    for process in ranks: process.join()
    sys.exit(max(abs(process.exitcode) for process in ranks))

def demo(argv:list[str])->None:
    "Run `lowrank_demo`, whose runs are forked as well."
    import lowrank_nb.demo
    def run(command:list[str])->subprocess.CompletedProcess:
        process = FORK.Process(target=run_c4, args=(command[command.index('-c')+2:],))
        process.start()
        process.join()
        return subprocess.CompletedProcess(command, process.exitcode)
    with patch('lowrank_nb.demo.subprocess', SimpleNamespace(run=run)):
        sys.exit(lowrank_nb.demo.demo_main(argv))
