"""The study of the page on faults: runs that are killed, stopped or changed, then resumed.

    python studies/faults.py one      a case that the page runs itself; prints its result
    python studies/faults.py stopped  another, sharded; also what cannot be sharded
    python studies/faults.py grid     takes minutes; adds its result to nbs/results/faults.json
    python studies/faults.py everywhere|sharded|changes   the same

Run it from the top of a checkout. Importing takes longer than these runs. So every run is forked
from this process, which has imported everything."""
import argparse
import json
import os
import random
import shlex
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from pydoc_data.topics import topics

import torch
from safetensors.torch import load_file

from lowrank_nb import flags, run_c4
from lowrank_nb.callbacks import Metrics
from lowrank_nb.files import read_json, read_jsonl, write_json
from lowrank_nb.run_folder import checkpoints

OUT = Path("nbs/results/faults.json").resolve()
TINY = dict(model_type="llama", hidden_size=32, intermediate_size=48, num_hidden_layers=2,
            num_attention_heads=2, vocab_size=259, max_position_embeddings=128)
METHODS = dict(
    dense="--optimizer adamw",
    loro="--optimizer loro_adamw --loro_scope all --loro_freq 3 "
         "--loro_refresh all --loro_refresh_freq 7",
    cola="--optimizer adamw_cola --loro_scope all --loro_refresh lrk --loro_refresh_freq 7",
    lost="--optimizer adamw_lost --loro_scope all --lost_sparse_method gradient")
BASE = ("--model_config tiny.json --max_length 32 --num_training_steps 40 --warmup_steps 4 "
        "--tokenizer bytes --val_data_path val.jsonl --loro_attn_rank 8 --loro_mlp_rank 8 "
        "--report_to none --eval_tokens 500 --eval_every 6 --save_ckpt True --save_every 5 "
        "--lr 1e-3 --scheduler cosine_restart --cosine_restart_freq 10 --dtype float32 --seed 43")
SHORT = (" --num_training_steps 6 --warmup_steps 1 --save_every 3 --eval_every 2 "
         "--cosine_restart_freq 3")
LATEST = " --continue_from latest"
AXES = "method", "workers", "packed", "processes", "sharded" # what a case is

# A run that stops itself

def stop()->None: os.kill(os.getpid(), signal.SIGSTOP)

def stop_after_row(step:int)->None:
    "Stop this process after the row of an update."
    plain = Metrics.on_row
    def on_row(self, trainer, row):
        plain(self, trainer, row)
        if row["kind"]=="train" and row["step"]==step:
            stop()
    Metrics.on_row = on_row

def is_operation(event:str, args:tuple)->bool:
    "Check whether an audit event opens a file for writing, or makes, renames or removes one."
    writes = os.O_WRONLY|os.O_RDWR|os.O_CREAT
    if event=="open":
        return bool((args[2] or 0) & writes)
    return event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove")

def stop_before_operation(n:int, among:str)->None: # a part of the path
    "Stop this process before its n-th file operation."
    count = 0
    def hook(event, args):
        nonlocal count
        if not is_operation(event, args) or among not in str(args[0]):
            return
        count += 1
        if count==n: stop()
    sys.addaudithook(hook)

def stop_at(what:str, n:int)->None:
    "Stop after a row, before an operation in the run's folder, or before one of a save."
    if what=="row": stop_after_row(n)
    else:
        stop_before_operation(n, dict(operation="cut/", saving="cut/model_")[what])

def note_columns()->None:
    "Write which columns LoST keeps on this process."
    plain = run_c4.build
    def build(checked, process, folder):
        trainer = plain(checked, process, folder)
        layers = trainer.model.named_modules()
        columns = {name: m.columns for name,m in layers if hasattr(m, "columns")}
        torch.save(columns, f"columns.{process.rank}")
        return trainer
    run_c4.build = build

# Jobs of several processes

def redirect(rank:int)->None:
    file = os.open(f"said.{rank}", os.O_WRONLY|os.O_CREAT|os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)

def start_rank(cmd:str, rank:int, world:int, port:int, moment:tuple|None)->int: # its process id
    "Fork a process; it and its workers are a process group. It gets the variables of torchrun."
    if pid := os.fork():
        os.setpgid(pid, pid)
        return pid
    os.setpgrp()
    signal.alarm(300)
    redirect(rank)
    if world>1:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world),
                          MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    if moment: stop_at(*moment)
    note_columns()
    flags.WAIT = 0 # torchrun is not there to end the others
    code = 1
    try: code = run_c4.main(shlex.split(cmd))
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)

def free_port()->int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]

def exit_code(pid:int)->int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def end(pids:list[int], stopped:int, sig:int, delay:float)->None:
    "Let the stopped process work for `delay` seconds, then send the signal to all."
    if delay:
        os.kill(stopped, signal.SIGCONT)
        time.sleep(delay)
    send = os.killpg if sig==signal.SIGKILL else os.kill
    for pid in pids: send(pid, sig)
    os.kill(stopped, signal.SIGCONT)

def job(
    cmd:str,
    world:int=1,            # processes
    moment:tuple|None=None, # where `rank` stops; None: never
    rank:int=0,
    sig:int=signal.SIGKILL,
    delay:float=0,          # seconds of work after the moment
)->list[int]:               # exit codes
    "Run a job, and end it at a moment."
    port = free_port()
    pids = [start_rank(cmd, r, world, port, moment if r==rank else None) for r in range(world)]
    status = os.waitpid(pids[rank], os.WUNTRACED)[1]
    codes = {}
    if os.WIFSTOPPED(status):
        end(pids, pids[rank], sig, delay)
    else:
        codes[rank] = os.waitstatus_to_exitcode(status)
    return [codes[r] if r in codes else exit_code(pid) for r,pid in enumerate(pids)]

def said(rank:int=0)->str: return Path(f"said.{rank}").read_text()

def run(cmd:str, world:int=1, want:int=0, **how)->None:
    "Run a job, and check its exit codes."
    codes = job(cmd, world, **how)
    assert codes==[want]*world, (codes, want, said()[-3000:])

# Data, commands, and what a run leaves

def write_texts(file:str, texts:Iterable[str])->None:
    Path(file).write_text("".join(json.dumps(dict(text=t))+"\n" for t in texts))

def write_documents(readers:int)->None:
    "Write 1,300 short documents for each reader, in four shards."
    if Path(f"docs{readers}.0.jsonl").exists():
        return
    text = "\n".join(topics.values()).encode("ascii", "ignore").decode()
    rng, at, docs = random.Random(0), 0, []
    while len(docs) < 1300*readers:
        n = rng.randint(5, 57)
        docs.append(text[at:at+n])
        at += n
    for i in range(4):
        write_texts(f"docs{readers}.{i}.jsonl", docs[i::4])
    write_texts("val.jsonl", [text[-200*i-200:-200*i-1] for i in range(20)])

def command(method:str, workers:int=0, packed:bool=True, processes:int=1, fsdp:bool=False)->str:
    each = max(1, workers)
    readers = each*processes
    write_documents(readers)
    return (f"{BASE} --batch_size {36*each} --total_batch_size {72*readers} "
            f"--train_data_path docs{readers}.*.jsonl --workers {workers} --packing {packed} "
            f"--fsdp {fsdp} {METHODS[method]}")

def rows(folder:str)->list[dict]:
    "Read the record without its speeds."
    found = read_jsonl(Path(folder)/"metrics.jsonl")
    return [{k: v for k,v in row.items() if k!="tokens_per_s"} for row in found]

def weights(folder:str, step:int=40)->bytes:
    return (Path(folder)/f"model_{step}"/"model.safetensors").read_bytes()

def files(folder:str)->list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*"))

def find(tree:object, key:str)->list:
    "List the values of a key, at any depth."
    if not isinstance(tree, (dict, list, tuple)):
        return []
    parts = tree.values() if isinstance(tree, dict) else tree
    found = [v for part in parts for v in find(part, key)]
    return [*found, tree[key]] if isinstance(tree, dict) and key in tree else found

def place(folder:str)->str:
    "Say at which place of the data the last checkpoint was written."
    if not checkpoints(folder): return "nothing"
    file = checkpoints(folder)[-1]/"training"/"rank_0.pt"
    stream = torch.load(file, weights_only=True)["stream"]
    past = max([0, *find(stream, "own")])>=1000
    return f"epoch {stream['epoch']+1}" + (", past its first block" if past else "")

def clear(*folders:str)->None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)

# The cases

def name_of(what:str, n:int, *rank:int)->str:
    kind = "saving, operation " if what=="saving" else ""
    return f"{kind}{n}" + (f" of rank {rank[0]}" if rank else "")

def killed(case:tuple, moments:Iterable[tuple])->dict: # what AXES names; what, n and perhaps rank
    "Kill a run again and again, resume it, and compare its end with that of an untouched one."
    clear("whole", "cut")
    cmd = command(*case)
    world = case[3]
    rng = random.Random(str(case))
    hits = []
    places = []
    run(cmd+" --save_dir whole", world)
    for what,n,*rank in moments:
        delay = rng.uniform(.001, .03) if what=="row" else 0
        run(cmd + " --save_dir cut" + (LATEST if hits else ""), world, -signal.SIGKILL,
            moment=(what, n), rank=rank[0] if rank else 0, delay=delay)
        hits.append(name_of(what, n, *rank))
        places.append(place("cut"))
    run(cmd+" --save_dir cut"+LATEST, world)
    same = {f"same {read.__name__}": read("cut")==read("whole") for read in (weights, rows, files)}
    return {**dict(zip(AXES, case)), "killed at": hits, "resumed from": places, **same}

def everywhere(method:str, processes:int=1, fsdp:bool=False, rank:int=0)->dict:
    "Kill a run of 4 updates before each of its file operations. It saves twice and keeps one."
    cmd = command(method, 0, True, processes, fsdp) + SHORT
    cmd += " --num_training_steps 4 --save_every 2 --keep_last 1"
    clear("whole")
    run(cmd+" --save_dir whole", processes)
    n, other_ends = 1, []
    while killed_before(cmd, n, processes, rank):
        resume = LATEST if Path("cut/run.lock").exists() else ""
        run(cmd+" --save_dir cut"+resume, processes)
        same = weights("cut", 4)==weights("whole", 4) and rows("cut")==rows("whole")
        if not same or files("cut")!=files("whole"):
            other_ends.append(n)
        n += 1
    return dict(method=method, processes=processes, sharded=fsdp, rank=rank, operations=n-1,
                another_end=other_ends)

def killed_before(cmd:str, n:int, processes:int, rank:int)->bool:
    "Kill a new run before an operation of one rank. False if the run ends before it."
    clear("cut")
    codes = job(cmd+" --save_dir cut", processes, ("operation", n), rank)
    if codes==[0]*processes: return False
    assert codes==[-signal.SIGKILL]*processes, (codes, said()[-3000:])
    return True

def sharded(method:str, workers:int, packed:bool, more:str="")->dict:
    "Stop a sharded run with SIGTERM and resume it; resume another from a checkpoint of the whole."
    clear("whole", "cut", "rest")
    cmd = command(method, workers, packed, 2, True) + SHORT + more
    run(cmd+" --save_dir whole", 2)
    check_columns(method)
    run(cmd+" --save_dir cut", 2, 143, moment=("row", 3), sig=signal.SIGTERM)
    saved = [p.name for p in checkpoints("cut")]
    run(cmd+" --save_dir cut"+LATEST, 2)
    run(cmd+" --save_dir rest --continue_from whole/model_3", 2)
    parts = Path("cut/model_6/training/optimizer").iterdir()
    assert any(p.name.startswith("shard-00002") for p in parts) # moments in parts
    late = [r for r in rows("whole") if r["step"]>3]
    return {
        "method": method, "workers": workers, "packed": packed, "more": more.strip(),
        "stopped_after": saved,
        "same weights": weights("cut", 6)==weights("rest", 6)==weights("whole", 6),
        "same rows": rows("cut")==rows("whole") and rows("rest")==late}

def check_columns(method:str)->None:
    "Check that both processes keep the same columns."
    first,second = (torch.load(f"columns.{r}", weights_only=True) for r in range(2))
    assert first.keys()==second.keys() and bool(first)==(method=="lost")
    assert all(torch.equal(columns, second[name]) for name,columns in first.items())

def refused(more:str)->dict:
    "Start a sharded run with flags that cannot be sharded."
    codes = job(command("dense", 0, True, 2, True)+f" --save_dir new {more}", 2)
    return dict(codes=codes, line=said(), other=said(1), made=Path("new").exists())

def changed(what:str, case:tuple, was:str, now:str, world:int)->dict:
    "Train three updates with some flags and three with others, in another folder."
    clear("whole", "new")
    cmd = command(*case) + SHORT
    assert was in cmd
    run(cmd+" --save_dir whole", case[3])
    flags = " --save_dir new --continue_from whole/model_3"
    codes = job(cmd.replace(was, now)+flags, world)
    assert len(set(codes))==1, codes
    if codes[0]:
        assert not Path("new").exists()
        return dict(change=what, exit_code=codes[0], outcome=said().strip())
    return dict(change=what, exit_code=0, outcome=difference())

def difference()->str:
    first,second = (load_file(f"{d}/model_6/model.safetensors") for d in ("whole", "new"))
    far = max((first[name]-second[name]).abs().max().item() for name in first)
    late = [r for r in rows("whole") if r["step"]>3]
    if not far and rows("new")==late:
        return "the same weights and rows"
    return f"weights differ by {far:.0e} at most"

# The studies

ONE = ("loro", 2, True, 1, False), [("row", 2), ("row", 7), ("saving", 9)]
REFUSED = "--optimizer galore_adamw", "--optimizer adafactor", "--dtype pure_bfloat16"
GRID = [
    ("dense", 0, False, 1, False), ("dense", 2, True, 2, False),
    ("loro", 0, True, 2, False), ("loro", 2, False, 1, False),
    ("cola", 2, False, 2, False), ("cola", 0, True, 1, False),
    ("lost", 2, True, 1, False), ("lost", 0, False, 2, False),
    ("dense", 0, True, 2, True), ("loro", 2, True, 2, True),
    ("cola", 0, False, 2, True), ("lost", 2, False, 2, True)]
SHARDED = [
    ("dense", 2, False), ("loro", 0, True), ("loro", 2, True), ("cola", 0, False),
    ("lost", 2, False), ("lost", 2, True, " --lost_sparse_method svd"),
    ("loro", 2, True, " --dtype bfloat16"), ("lost", 0, True, " --dtype bfloat16")]
HALF, FULL = "--batch_size 36", "--batch_size 72"
CHANGES = [
    ("workers 2 to 0", ("loro", 2, True, 1), "--workers 2", "--workers 0", 1),
    ("workers 0 to 2", ("lost", 0, False, 1), "--workers 0", "--workers 2", 1),
    ("workers 2 to 3", ("dense", 2, False, 1), "--workers 2", "--workers 3", 1),
    ("workers 4 to 8, 4 shards", ("loro", 4, True, 1), "--workers 4", "--workers 8", 1),
    ("processes 1 to 2", ("loro", 0, True, 1), HALF, "--batch_size 18", 2),
    ("processes 2 to 1", ("cola", 0, True, 2), HALF, FULL, 1),
    ("processes 2 to 1, sharded", ("lost", 0, True, 2, True), HALF, FULL, 1),
    ("sharded to whole, 2 processes", ("loro", 0, True, 2, True), "fsdp True", "fsdp False", 2),
    ("whole to sharded, 2 processes", ("lost", 0, True, 2, False), "fsdp False", "fsdp True", 2)]

def moments(i:int, fsdp:bool)->list[tuple]: # of case i of the grid
    found = [("row", 2), ("row", 7), ("saving", 2*i+1), ("row", 17), ("row", 23), ("row", 37)]
    return found + ([("saving", 1, 1)] if fsdp else [])

STUDIES = dict(
    one=lambda: killed(*ONE),
    stopped=lambda: [sharded("lost", 0, True), *map(refused, REFUSED)],
    grid=lambda: [killed(case, moments(i, case[-1])) for i,case in enumerate(GRID)],
    everywhere=lambda: [everywhere("loro"), everywhere("lost", 2, True, 1)],
    sharded=lambda: [sharded(*case) for case in SHARDED],
    changes=lambda: [changed(*change) for change in CHANGES])

def main()->None:
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("study", choices=STUDIES)
    study = p.parse_args().study
    torch.set_num_threads(1)
    home = Path.cwd()
    with tempfile.TemporaryDirectory() as d:
        os.chdir(d)
        Path("tiny.json").write_text(json.dumps(TINY))
        result = STUDIES[study]()
        os.chdir(home)
    if study in ("one", "stopped"):
        print(json.dumps(result))
    else:
        write_json(OUT, read_json(OUT) | {study: result})

if __name__=="__main__": main()
