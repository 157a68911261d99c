"""Every check of the project, one after the other, ending in a line `N passed, N failed`.

Notebooks clean, export in sync, every notebook run, docs processed, and the command line on real data: the C4 sample in
`../shared` where that folder is, the corpus that Python carries elsewhere."""
import ast, configparser, json, os, re, shutil, subprocess, sys, tempfile, time, zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

root = Path(__file__).resolve().parent.parent
os.chdir(root)
bin_dir, shared = Path(sys.executable).parent, root.parent/'shared'
# MALLOC_*: freed memory stays in the process; without it a bfloat16 run on a CPU spends half its time in page faults. OMP_WAIT_POLICY: threads that wait leave their core to the other checks.
env = dict(os.environ, PATH=f"{bin_dir}{os.pathsep}{os.environ['PATH']}", OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', MPLBACKEND='agg',
           OMP_WAIT_POLICY='passive', MALLOC_MMAP_MAX_='0', MALLOC_TRIM_THRESHOLD_='20000000000', MALLOC_TOP_PAD_='100000000')
checks = []

def check(name, f): checks.append((name,f))

def run(name, f):
    "Run `f`; it passes unless it raises. Prints the name, the outcome and the seconds."
    start = time.time()
    try: f(); ok, why = True, ''
    except Exception as e: ok, why = False, f'{type(e).__name__}: {e}'
    print(f"{'ok    ' if ok else 'FAILED'} {name}  ({time.time()-start:.0f} s){chr(10)+why if why else ''}", flush=True)
    return ok

LONGEST = '11_run_c4.ipynb', '12_compare.ipynb', 'a hub that drops, stalls, limits, fails, dies', '26_faults.ipynb', 'demo, 2 updates a run', '09b_sharding.ipynb', 'tutorial.ipynb', '10_training.ipynb', '09_checkpoints.ipynb', '05_optimizers.ipynb', '07_data.ipynb', '08_evaluate.ipynb'

def run_all():
    "All checks, three at a time on two cores (each is one process of one thread, and some wait for a server), the longest first, so that they end together."
    checks.sort(key=lambda c: LONGEST.index(c[0]) if c[0] in LONGEST else len(LONGEST))
    with ThreadPoolExecutor(3) as pool: return list(pool.map(lambda c: run(*c), checks))

def sh(*cmd, cwd=root, env=env, ok=0):
    r = subprocess.run([str(c) for c in cmd], cwd=cwd, env=env, capture_output=True, text=True)
    if r.returncode!=ok: raise RuntimeError(f"{' '.join(map(str,cmd))}: exit code {r.returncode}, not {ok}\n{r.stdout[-1500:]}\n{r.stderr[-1500:]}")
    return r

# ---- notebooks

def notebooks(): return sorted(p for p in (root/'nbs').glob('*.ipynb'))

def copy_of_tree(d):
    "The tracked files in a folder of their own, so that checks cannot change the checkout."
    dst = Path(d)/'tree'
    files = sh('git','ls-files','-z').stdout.split('\0')
    for f in filter(None, files):
        (dst/f).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root/f, dst/f, follow_symlinks=False)
    sh('git','init','-q',cwd=dst); sh('git','add','-A',cwd=dst)
    sh('git','-c','user.name=t','-c','user.email=t@t','commit','-qm','t',cwd=dst)
    return dst

def in_sync():
    with tempfile.TemporaryDirectory() as d:
        t = copy_of_tree(d)
        sh('nbdev_export', cwd=t); sh('nbdev_clean', cwd=t)
        changed = sh('git','status','--porcelain',cwd=t).stdout
        if changed: raise AssertionError(f'nbdev_export and nbdev_clean change\n{changed}')

def outputs_stored():
    for p in notebooks():
        cells = [c for c in json.loads(p.read_text())['cells'] if c['cell_type']=='code']
        bad = [c for c in cells if any(o['output_type']=='error' for o in c['outputs'])]
        if bad: raise AssertionError(f'{p.name} stores an error')
        if re.search(r'(/root/|/home/|/Users/|/tmp/)\w', p.read_text()): raise AssertionError(f'{p.name} holds an absolute path')

def one_notebook(p, times=os.devnull): return lambda: sh(sys.executable,'.ci/timed.py',p,times)

def slowest(times, n=10):
    "Print the cells that took longest: checks share the machine, so the seconds are of a part of it."
    rows = sorted((json.loads(l) for l in open(times)), reverse=True)[:n]
    print(f'the {len(rows)} slowest cells:', *(f'  {s:6.1f} s  {nb}: {line}' for s,nb,line in rows), sep='\n')

def docs():
    with tempfile.TemporaryDirectory() as d:
        t = copy_of_tree(d); q = Path(d)/'bin'/'quarto'
        q.parent.mkdir(); q.write_text('#!/bin/sh\nexit 0\n'); q.chmod(0o755)
        sh('nbdev_proc_nbs', cwd=t, env=dict(env, PATH=f"{q.parent}{os.pathsep}{env['PATH']}"))
        made = list((t/'_proc').glob('*.ipynb'))
        if len(made) < len(notebooks()): raise AssertionError(f'{len(made)} processed pages for {len(notebooks())} notebooks')
        sh(sys.executable,'.ci/pages.py',t/'_proc',cwd=t)

def settings():
    ini = configparser.ConfigParser(delimiters=['=']); ini.read(root/'settings.ini', encoding='utf-8')
    return ini['DEFAULT']

MODULE = {'pyyaml':'yaml'}               # where the import is not the package's own name
ELSEWHERE = {'bitsandbytes'}             # taken where it is installed: it needs CUDA

def imported():
    "Top-level names of every import in the package, without Python's own."
    nodes = [n for p in (root/'lowrank_nb').glob('*.py') for n in ast.walk(ast.parse(p.read_text(encoding='utf-8')))]
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names] + [n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level]
    return {n.split('.')[0] for n in names} - {*sys.stdlib_module_names} - {'lowrank_nb'}

def requirements():
    "Each requirement is imported, and each import is required: by settings.ini itself or by one of its extras."
    modules = lambda line: {MODULE.get(n, n).replace('-','_') for n in (re.match(r'[\w-]+', r)[0].lower() for r in line.split())}
    needed = modules(settings()['requirements']); optional = {m for k,v in settings().items() if k.endswith('_requirements') and not k.startswith('dev') for m in modules(v)}
    if unused := needed-imported(): raise AssertionError(f'no module imports {sorted(unused)}')
    if undeclared := imported()-needed-optional-ELSEWHERE: raise AssertionError(f'settings.ini does not name {sorted(undeclared)}')

# ---- command line

REFERENCE = '''--dtype bfloat16 --lr 0.0001 --scheduler cosine_restart --min_lr_ratio 0.1 --weight_decay 0.1 --loro_refresh all --loro_scope all --loro_init xavier
  --loro_type loro --loro_lr_scaler -1 --save_ckpt True --seed 43'''
LOST = '--optimizer adamw_lost --lost_sparsity 0.01 --lost_sparse_svd_rank 256 --lost_gamma 0.25 --cola_silu False --cola_init False --lost_sparse_method'
VARIANTS = dict(cola='--optimizer adamw_cola --cola_silu True --cola_init True', lost_random=f'{LOST} random', lost_svd=f'{LOST} svd', lost_gradient=f'{LOST} gradient',
                loro='--optimizer loro_adamw --loro_type loro --loro_freq 5')
SMALL = '''--model_config configs/llama_9m.json --max_length 64 --batch_size 8 --total_batch_size 16 --num_training_steps 20 --save_every 10 --eval_every 10 --warmup_steps 4 --lr_adjust_steps -4
  --cosine_restart_freq 5 --loro_refresh_freq 5 --loro_freq 5 --loro_attn_rank 32 --loro_mlp_rank 32 --eval_tokens 5000'''
if shared.is_dir():
    DATA = ['--c4_local','True','--train_data_path',f'{shared}/data/c4/en/c4-train.*.json.gz','--val_data_path',f'{shared}/data/c4/en/c4-validation.*.json.gz','--tokenizer',f'{shared}/data/t5-base']
else: DATA = '--c4_local True --train_data_path embedded --val_data_path embedded --tokenizer bytes'.split()
TORCHRUN = [sys.executable,'-m','torch.distributed.run','--standalone','--local_addr','127.0.0.1','--nproc_per_node']   # the address by number: a machine's own name need not resolve

def command(variant, data, start, extra=(), small=SMALL):
    def f():
        with tempfile.TemporaryDirectory() as d:
            r = sh(*start, 'run_c4.py', *small.split(), *REFERENCE.split(), *VARIANTS[variant].split(), *data, '--save_dir', f'{d}/run', *extra)
            rows = [json.loads(l) for l in open(f'{d}/run/metrics.jsonl')]
            steps = [o['step'] for o in rows if o['kind']=='train']; evals = [o['step'] for o in rows if o['kind']=='eval']
            if (steps,evals)!=(list(range(1,21)),[10,20]): raise AssertionError(f'train rows {steps}, eval rows {evals}')
            if not rows[-1]['loss'] < rows[0]['loss']: raise AssertionError(f"validation loss {rows[-1]['loss']} is not below the first training loss {rows[0]['loss']}")
            names = sorted(p.name for p in Path(f'{d}/run').iterdir())
            if names!=['args.json','metrics.jsonl','model_10','model_20','run.lock','summary.json','tensorboard']: raise AssertionError(f'the run left {names}')
            if 'method:' not in r.stderr: raise AssertionError('no start-up log')
    return f

def hub(variant):
    start = [sys.executable,'.ci/loopback_hub.py','--data',shared/'data/c4/en','--tokenizer',shared/'data/t5-base','--',*TORCHRUN,'2']
    return command(variant, ['--c4_local','False'], start, ['--batch_size','4'])

FAULTS = 'drop','stall','429','503'
HUB_RUN = '--model_config llama_9m --batch_size 32 --max_length 8 --num_training_steps 80 --save_ckpt True --save_every 30 --eval_every 40 --warmup_steps 2 --optimizer adamw --c4_local False --workers 0 --eval_tokens 500'

def hub_faults():
    "A hub that fails for a while, in the middle of a run, changes nothing; one that stays dead stops it with a checkpoint, from which it goes on."
    with tempfile.TemporaryDirectory() as d:
        code = 'import sys, lowrank_nb.data as D; D.RETRIES = 1; from lowrank_nb.run_c4 import main; sys.exit(main())'     # each of these tries is five of the client's
        hub = lambda *fault: [sys.executable,'.ci/loopback_hub.py','--data',shared/'data/c4/en','--tokenizer',shared/'data/t5-base',*fault,'--',sys.executable,'-c',code,*HUB_RUN.split(),'--save_dir']
        hasty = dict(env, HF_HUB_DOWNLOAD_TIMEOUT='2')
        after = '--after','2','--every','1','--times'     # the first shard and the validation file come well
        cases = dict(untouched=(), faulty=('--fault',*FAULTS,*after,str(len(FAULTS))), dead=('--fault','503',*after,'1000000'))
        with ThreadPoolExecutor(2) as pool: said = dict(zip(cases, pool.map(lambda n: sh(*hub(*cases[n]), f'{d}/{n}', ok=2*(n=='dead'), env=hasty).stderr, cases)))
        if missing := [k for k in FAULTS if f'loopback hub: {k}\n' not in said['faulty']]: raise AssertionError(f'not provoked: {missing}')
        if said['dead'].count('run_c4.py: ')!=1 or 'cannot be read on' not in said['dead'].splitlines()[-1]: raise AssertionError(said['dead'][-1500:])
        sh(*hub(), f'{d}/dead', '--continue_from', 'latest')
        rows = lambda n: [{k:v for k,v in json.loads(l).items() if k!='tokens_per_s'} for l in open(f'{d}/{n}/metrics.jsonl')]
        for n in cases:
            if rows(n)!=rows('untouched') or Path(f'{d}/{n}/model_80/model.safetensors').read_bytes()!=Path(f'{d}/untouched/model_80/model.safetensors').read_bytes(): raise AssertionError(f'{n}: not the run of a hub that works')

def packaging():
    "A wheel from the sdist: every module, the configs and py.typed in it; it imports from there without the optional libraries and knows its configs."
    with tempfile.TemporaryDirectory() as d:
        t = copy_of_tree(d); pip = [sys.executable,'-m','pip','--disable-pip-version-check','-q']
        sh(sys.executable,'-m','build','--no-isolation','-o',f'{d}/dist',t, cwd=d)    # sdist, and the wheel from it; build and setuptools are part of [dev]
        wheel, = Path(d,'dist').glob('*.whl')
        with zipfile.ZipFile(wheel) as z: names = {*z.namelist()}
        want = {p.relative_to(t).as_posix() for p in (t/'lowrank_nb').rglob('*') if p.suffix in ('.py','.json','.typed')}
        if want-names: raise AssertionError(f'not in the wheel: {sorted(want-names)}')
        if odd := [n for n in names if not n.startswith(('lowrank_nb/','lowrank_nb-'))]: raise AssertionError(f'in the wheel: {odd}')
        sh(*pip,'install','--no-deps','-t',f'{d}/site',wheel)
        code = "import sys; [sys.modules.__setitem__(m, None) for m in ('pytorch_optimizer','torchao','accelerate','lm_eval','tensorboard','wandb','trackio','nbdev')]; import lowrank_nb, lowrank_nb.compare, lowrank_nb.export, lowrank_nb.data; " \
               "from lowrank_nb.factorize import load_model_config as l; print(lowrank_nb.__file__, l('llama_60m').hidden_size)"
        said = sh(sys.executable,'-c',code, cwd=d, env=dict(env, PYTHONPATH=f'{d}/site')).stdout.split()
        if not said[0].startswith(f'{d}/site/') or said[1]!='512': raise AssertionError(said)

def refuses():
    r = sh(sys.executable,'run_c4.py','--model_config','llama_9m','--batch_size','2','--optimizer','adamv', ok=2)
    if r.stderr.count('\n')!=1 or '--optimizer' not in r.stderr: raise AssertionError(r.stderr)
    r = sh(*TORCHRUN,'2','run_c4.py','--model_config','llama_9m','--batch_size','2','--optimizer','adamv', ok=1)
    if r.stderr.count('run_c4.py: ')!=1: raise AssertionError(r.stderr)

def no_hub():
    start = time.time()
    with tempfile.TemporaryDirectory() as home:
        r = sh(sys.executable,'run_c4.py','--model_config','llama_9m','--batch_size','2','--c4_local','False', ok=2, env=dict(env, HF_ENDPOINT='http://127.0.0.1:9', HF_HOME=home))
    if r.stderr.count('\n')!=1 or not all(w in r.stderr for w in ('--c4_local True','--demo')): raise AssertionError(r.stderr)
    if time.time()-start>30: raise AssertionError(f'took {time.time()-start:.0f} s')

def eight_bit():
    "torchao logs while it loads wherever it is installed, so it is no part of [dev]: here it is fetched beside the environment."
    with tempfile.TemporaryDirectory() as d:
        sh(sys.executable,'-m','pip','install','-q','--no-deps','--disable-pip-version-check','-t',f'{d}/ao','torchao==0.18.0')
        sh(sys.executable,'run_c4.py',*'--model_config llama_9m --batch_size 2 --tokenizer bytes --train_data_path embedded --val_data_path embedded --num_training_steps 3 --warmup_steps 1'.split(),
           *'--optimizer adam8bit --parameterization lost --loro_scope all --loro_attn_rank 8 --loro_mlp_rank 8 --workers 0 --eval_tokens 500 --save_dir'.split(), f'{d}/run', env=dict(env, PYTHONPATH=f'{d}/ao', TORCHDYNAMO_DISABLE='1'))   # no compiler needed

def demo():
    with tempfile.TemporaryDirectory() as d:
        r = sh(sys.executable,'run_c4.py','--demo','--num_training_steps','2','--save_dir',f'{d}/demo')
        for w in ('| control','| dense','| loro','| cola','| lost',f'{d}/demo'):
            if w not in r.stdout: raise AssertionError(f'{w!r} is not in\n{r.stdout}')
        for f in ('table.md','curves.png'): (Path(d)/'demo'/f).stat()

if __name__=='__main__':
    check('export in sync, notebooks clean', in_sync)
    check('no stored errors or absolute paths', outputs_stored)
    check('requirements: all used, none missing', requirements)
    check('README.md in sync', lambda: sh(sys.executable,'.ci/readme.py','--check'))
    times = tempfile.NamedTemporaryFile('w', suffix='.jsonl')
    for p in sorted(notebooks(), key=lambda p: -p.stat().st_size): check(p.name, one_notebook(p, times.name))
    check('docs processed, links lead somewhere', docs)
    check('wheel and sdist', packaging)
    check('bad input: one line, exit code 2', refuses)
    check('hub unreachable: one line, exit code 2', no_hub)
    check('help', lambda: sh(sys.executable,'run_c4.py','--help'))
    for tool in (c.split('=')[0] for c in settings()['console_scripts'].split()): check(f'{tool} --help', lambda tool=tool: sh(tool,'--help'))
    check('benchmark script, smallest model', lambda: sh(sys.executable,'benchmarks/gpu.py','--device','cpu','--models','llama_9m','--dtype','float32','--batch','1','--repeats','1','--out',os.devnull))
    check('demo, 2 updates a run', demo)
    check('8-bit Adam', eight_bit)
    for v in VARIANTS: check(f'train {v}', command(v, DATA, [sys.executable] if v=='lost_svd' else [*TORCHRUN,'1']))
    check('train loro, 2 processes', command('loro', DATA, [*TORCHRUN,'2'], ['--batch_size','4']))
    check('train loro, 2 processes, sharded', command('loro', DATA, [*TORCHRUN,'2'], ['--batch_size','4','--fsdp','True']))
    if shared.is_dir():
        check('train cola through a loopback hub, 2 processes', hub('cola'))
        check('a hub that drops, stalls, limits, fails, dies', hub_faults)
    start = time.time(); results = run_all(); print(f'{len(results)} checks in {time.time()-start:.0f} s, installation not counted')
    slowest(times.name)
    for (name,_),ok in zip(checks, results):
        if not ok: print(f'failed: {name}')
    print(f'{results.count(True)} passed, {results.count(False)} failed')
    sys.exit(not all(results))
