"""Checks of the command line: small runs of the reference commands, a hub that fails, bad input."""
import gzip
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from common import SHARED, sh
from forked import demo, forked, run_c4, run_c4_twice
from loopback_hub import serve

REFERENCE = '''--dtype bfloat16 --lr 0.0001 --scheduler cosine_restart --min_lr_ratio 0.1
  --weight_decay 0.1
  --loro_refresh all --loro_scope all --loro_init xavier --loro_type loro --loro_lr_scaler -1
  --save_ckpt True --seed 43'''.split()
LOST = '''--optimizer adamw_lost --lost_sparsity 0.01 --lost_sparse_svd_rank 256 --lost_gamma 0.25
  --cola_silu False --cola_init False --lost_sparse_method'''.split()
VARIANTS = dict(
    cola='--optimizer adamw_cola --cola_silu True --cola_init True'.split(),
    lost_random=[*LOST, 'random'], lost_svd=[*LOST, 'svd'], lost_gradient=[*LOST, 'gradient'],
    loro='--optimizer loro_adamw --loro_type loro --loro_freq 5'.split())
SMALL = '''--model_config configs/llama_9m.json --max_length 32 --batch_size 8 --total_batch_size 16
  --num_training_steps 20 --save_every 10 --eval_every 10 --warmup_steps 4 --lr_adjust_steps -4
  --cosine_restart_freq 5 --loro_refresh_freq 5 --loro_freq 5 --loro_attn_rank 32
  --loro_mlp_rank 32 --eval_tokens 5000'''.split()
EMBEDDED = '--train_data_path embedded --val_data_path embedded --tokenizer bytes'.split()
C4, T5 = SHARED/'data/c4/en', SHARED/'data/t5-base'
DATA = EMBEDDED
if SHARED.is_dir():
    DATA = ['--c4_local', 'True', '--train_data_path', f'{C4}/c4-train.*.json.gz',
            '--val_data_path', f'{C4}/c4-validation.*.json.gz', '--tokenizer', T5]

PYTHON = [sys.executable]
# The address is given by number, since a machine's own name need not resolve.
TORCHRUN = '-m torch.distributed.run --standalone --local_addr 127.0.0.1 --nproc_per_node'.split()
ONE, TWO = ([*PYTHON, *TORCHRUN, n] for n in '12')
RUN_FILES = ['args.json', 'metrics.jsonl', 'model_10', 'model_20', 'run.lock', 'summary.json',
             'tensorboard']

def rows_of(run:Path)->list[dict]:
    "Return the rows of a run without their timings."
    rows = [json.loads(line) for line in (run/'metrics.jsonl').open()]
    return [{k: v for k,v in row.items() if k!='tokens_per_s'} for row in rows]

def must(holds:bool, message:object):
    if not holds: raise AssertionError(message)

def train(env, variant, start=ONE, data=DATA, extra=()):
    """Train 20 updates with the reference flags and look at what the run leaves.
    A start that is a function runs in a forked process."""
    with tempfile.TemporaryDirectory() as d:
        run = Path(d)/'run'
        flags = map(str, [*SMALL, *REFERENCE, *VARIANTS[variant], *data, '--save_dir', run, *extra])
        if callable(start):
            said = forked(start, [*flags])
        else:
            said = sh(*start, 'run_c4.py', *flags, env=env).stderr
        rows = rows_of(run)
        updates, evaluations = ([row['step'] for row in rows if row['kind']==kind]
                                for kind in ('train', 'eval'))
        must(updates==list(range(1, 21)), f'train rows {updates}')
        must(evaluations==[10, 20], f'eval rows {evaluations}')
        must(rows[-1]['loss'] < rows[0]['loss'], 'the validation loss is not below the first loss')
        names = sorted(p.name for p in run.iterdir())
        must(names==RUN_FILES, f'the run left {names}')
        must('method:' in said, 'the start-up log is missing')

def loopback(*fault, data=C4):
    "Return the start of a command that runs with a hub on loopback."
    return [*PYTHON, '.ci/loopback_hub.py', '--data', data, '--tokenizer', T5, *fault, '--']

def write_quarter(folder:Path):
    "Write the first quarter of each shard."
    for shard in C4.glob('*.json.gz'):
        with gzip.open(shard) as f:
            lines = f.readlines()
        with gzip.open(folder/shard.name, 'w') as f:
            f.writelines(lines[:len(lines)//4])

def train_from_hub(env):
    extra = ['--batch_size', '4']
    train(env, 'cola', [*loopback(), *TWO], ['--c4_local', 'False'], extra)

FAULTS = 'drop', 'stall', '429', '503'
SMALLEST = dict(model_type='llama', hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                num_attention_heads=1, vocab_size=32100, max_position_embeddings=64)
HUB_RUN = '''--batch_size 8 --max_length 8 --num_training_steps 80
  --save_ckpt True --save_every 30 --eval_every 40 --warmup_steps 2 --optimizer adamw
  --c4_local False --workers 0 --eval_tokens 500'''.split()
# One retry is enough here: each of them is five tries of the client.
HASTY = '''import sys, lowrank_nb.texts
lowrank_nb.texts.RETRIES = 1
from lowrank_nb.run_c4 import main
sys.exit(main())'''

def hub_faults(env):
    """Train with hubs that fail. Faults in the middle of a run change nothing. A hub that stays
    dead stops the run with a checkpoint, from which it resumes."""
    env = dict(env, HF_HUB_DOWNLOAD_TIMEOUT='2')
    # The first shard and the validation file are read without a fault.
    late = '--after', '2', '--every', '1', '--times'
    cases = dict(untouched=(), faulty=('--fault', *FAULTS, *late, str(len(FAULTS))),
                 dead=('--fault', '503', *late, '1000000'))
    with tempfile.TemporaryDirectory() as d:
        model = Path(d)/'smallest.json'
        model.write_text(json.dumps(SMALLEST))
        write_quarter(Path(d))
        def run(name, *fault, code=0, extra=()):
            start = [*loopback(*fault, data=d), *PYTHON, '-c', HASTY]
            command = [*start, *HUB_RUN, '--model_config', model]
            return sh(*command, '--save_dir', f'{d}/{name}', *extra, env=env, code=code).stderr
        with ThreadPoolExecutor(len(cases)) as pool:
            futures = {n: pool.submit(run, n, *f, code=2*(n=='dead')) for n,f in cases.items()}
            said = {n: f.result() for n,f in futures.items()}
        for fault in FAULTS:
            must(f'loopback hub: {fault}\n' in said['faulty'], f'no {fault}')
        must(said['dead'].count('run_c4.py: ')==1, said['dead'][-1500:])
        run('dead', extra=['--continue_from', 'latest'])
        weights = {n: (Path(d)/n/'model_80'/'model.safetensors').read_bytes() for n in cases}
        for n in cases:
            must(rows_of(Path(d)/n)==rows_of(Path(d)/'untouched'), f'{n}: other rows')
            must(weights[n]==weights['untouched'], f'{n}: other weights')

ASK = '''from lowrank_nb.texts import TextSource
from lowrank_nb.tokens import load_tokenizer
print(len(load_tokenizer("t5-base")), len(TextSource.hub().files))'''

def private_hub(env):
    "Check that a hub that asks for a token opens with it, and ends in one line without it."
    def needs_token(handler):
        if handler.headers.get('Authorization')=='Bearer hf_test':
            return False
        handler.send(dict(error='no'), 401)
        return True
    with serve(C4, T5, fault=needs_token) as address:
        env = dict(env, HF_ENDPOINT=address, HF_HUB_DISABLE_XET='1')
        flags = '--model_config llama_9m --batch_size 2 --train_data_path embedded'.split()
        flags += '--val_data_path embedded --dry_run'.split()
        r = sh(*PYTHON, 'run_c4.py', *flags, env=env, code=2)
        must(r.stderr.count('\n')==1 and '--tokenizer' in r.stderr, r.stderr)
        said = sh(*PYTHON, '-c', ASK, env=dict(env, HF_TOKEN='hf_test')).stdout.split()
        must(said[0]=='32100' and int(said[1])>0, said)

def half_fetched(env):
    "Check that 2 processes fetch a tokenizer at once, also from a half-filled cache."
    load = 'from lowrank_nb.tokens import load_tokenizer; print(len(load_tokenizer("t5-base")))'
    with tempfile.TemporaryDirectory() as home, serve(C4, T5) as address:
        env = dict(env, HF_ENDPOINT=address, HF_HUB_DISABLE_XET='1', HF_HOME=home)
        def loaded(_): return sh(*PYTHON, '-c', load, env=env).stdout.strip()
        for _ in range(2):
            with ThreadPoolExecutor(2) as pool:
                sizes = list(pool.map(loaded, range(2)))
            must(sizes==['32100']*2, sizes)
            files = list(Path(home).glob('hub/models--*/snapshots/*/*'))
            for file in files:
                if file.name!='tokenizer_config.json':
                    file.unlink()

def refuses(env):
    "Check for one line and exit code 2, also from two processes."
    bad = ['run_c4.py', '--model_config', 'llama_9m', '--batch_size', '2', '--optimizer', 'adamv']
    r = sh(*PYTHON, *bad, env=env, code=2)
    must(r.stderr.count('\n')==1 and '--optimizer' in r.stderr, r.stderr)
    r = sh(*TWO, *bad, env=env, code=1)
    must(r.stderr.count('run_c4.py: ')==1, r.stderr)

def no_hub(env):
    "Check that a hub that cannot be reached ends the run within 30 s, in one line."
    start = time.time()
    env = dict(env, HF_ENDPOINT='http://127.0.0.1:9')
    flags = '--model_config llama_9m --batch_size 2 --c4_local False'.split()
    r = sh(*PYTHON, 'run_c4.py', *flags, env=env, code=2)
    must(r.stderr.count('\n')==1 and '--c4_local True' in r.stderr, r.stderr)
    must(time.time()-start < 30, f'took {time.time()-start:.0f} s')

def eight_bit(env):
    """Train with torchao's 8-bit Adam. torchao logs while it loads, wherever it is installed, so it
    is not part of [dev]: it is fetched beside the environment."""
    with tempfile.TemporaryDirectory() as d:
        pip = '-m pip install -q --no-deps --disable-pip-version-check -t'.split()
        sh(*PYTHON, *pip, f'{d}/ao', 'torchao==0.18.0', env=env)
        flags = '''--model_config llama_9m --batch_size 2 --num_training_steps 3 --warmup_steps 1
          --optimizer adam8bit --parameterization lost --loro_scope all --loro_attn_rank 8
          --loro_mlp_rank 8 --workers 0 --eval_tokens 500'''.split()
        env = dict(env, PYTHONPATH=f'{d}/ao', TORCHDYNAMO_DISABLE='1')  # needs no compiler
        sh(*PYTHON, 'run_c4.py', *flags, *EMBEDDED, '--save_dir', f'{d}/run', env=env)

def short_demo(env):
    with tempfile.TemporaryDirectory() as d:
        out = Path(d)/'demo'
        said = forked(demo, ['--num_training_steps', '1', '--save_dir', str(out)])
        for word in ('| control', '| dense', '| loro', '| cola', '| lost', str(out)):
            must(word in said, f'{word!r} is not in\n{said}')
        must((out/'table.md').is_file() and (out/'curves.png').is_file(), 'table or figure missing')

def recipe(env):
    "Train by the name of a recipe, with flags of the command line over it."
    with tempfile.TemporaryDirectory() as d:
        flags = '--config laptop --num_training_steps 2 --warmup_steps 1 --eval_tokens 500'.split()
        forked(run_c4, [*flags, '--save_dir', f'{d}/run'])

def command_checks(env)->dict:
    "Return name -> check."
    checks = {
        'bad input: one line, exit code 2': refuses,
        'hub unreachable: one line, exit code 2': no_hub,
        'demo, 1 update a run': short_demo, 'recipe': recipe, '8-bit Adam': eight_bit}
    checks = {name: (lambda f=f: f(env)) for name,f in checks.items()}
    for v in VARIANTS:
        start = ONE if v=='cola' else run_c4
        checks[f'train {v}'] = lambda v=v, start=start: train(env, v, start)
    half = ['--batch_size', '4']
    checks['train loro, 2 processes'] = lambda: train(env, 'loro', TWO, extra=half)
    sharded = [*half, '--fsdp', 'True']
    checks['train loro, 2 processes, sharded'] = (
        lambda: train(env, 'loro', run_c4_twice, extra=sharded))
    if SHARED.is_dir():
        checks['train cola through a loopback hub, 2 processes'] = lambda: train_from_hub(env)
        checks['a private hub'] = lambda: private_hub(env)
        checks['a tokenizer that is fetched by halves'] = lambda: half_fetched(env)
        checks['a hub that drops, stalls, limits, fails, dies'] = lambda: hub_faults(env)
    return checks
