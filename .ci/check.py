"""Every check of the project, ending in a line `N passed, N failed`.

Style, notebooks (run, clean, exported, outputs as stored), the site, the packages, and the command
line on real data: the C4 sample in `../shared` if that folder exists, else the embedded corpus.

    check.py [WORD ...]   only the checks whose name contains one of the words"""
import ast
import configparser
import json
import os
import re
import shutil
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from nbdev.quarto import nbdev_proc_nbs

from commands import command_checks, must
from common import ROOT, clean_environment, notebooks, sh, site_notebooks
from forked import command, forked, start_server
from notebook import test

# The longest first, so that all workers end at about the same time.
LONGEST = ('a hub that drops', 'demo', 'compare.ipynb', 'command_line', 'private hub', 'faults',
           'resume', 'halves', 'sharding', 'tutorial', 'waiting', '8-bit', 'training', 'optimizers',
           'benchmark', 'loro_adamw', 'data.ipynb', 'run_c4', 'run_folder', 'site', 'train ')

def copy_of_tree(folder, env)->Path:
    "Copy the tracked files, so that checks cannot change the checkout."
    tree = Path(folder)/'tree'
    for name in filter(None, sh('git', 'ls-files', '-z', env=env).stdout.split('\0')):
        (tree/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT/name, tree/name, follow_symlinks=False)
    sh('git', 'init', '-q', cwd=tree, env=env)
    sh('git', 'add', '-A', cwd=tree, env=env)
    author = ['-c', 'user.name=t', '-c', 'user.email=t@t']
    sh('git', *author, 'commit', '-qm', 't', cwd=tree, env=env)
    return tree

def in_sync(env):
    "Check that export and clean change nothing."
    with tempfile.TemporaryDirectory() as d:
        tree = copy_of_tree(d, env)
        sh('nbdev_export', cwd=tree, env=env)
        sh('nbdev_clean', cwd=tree, env=env)
        changed = sh('git', 'status', '--porcelain', cwd=tree, env=env).stdout
        must(not changed, f'nbdev_export and nbdev_clean change\n{changed}')

def outputs_stored(env):
    "Check that no notebook stores an error or an absolute path."
    for p in notebooks():
        text = p.read_text(encoding='utf-8')
        outputs = [o for c in json.loads(text)['cells'] for o in c.get('outputs', [])]
        must(all(o['output_type']!='error' for o in outputs), f'{p.name} stores an error')
        path = re.search(r'(/root/|/home/|/Users/|/tmp/)\w', text)
        must(not path, f'{p.name} holds an absolute path')

def style(env):
    sh(sys.executable, '-m', 'ruff', 'check', '--quiet', '.', env=env)

def process_pages(tree:Path, path:str):
    "Process the notebooks of a tree for Quarto."
    # Forked, since at its end the command collects garbage once a page, which takes 30 s.
    os.environ['PATH'] = path
    os.chdir(tree)
    nbdev_proc_nbs(n_workers=0)

def docs(env):
    "Make the site's pages, and check their links, figures and tables."
    with tempfile.TemporaryDirectory() as d:
        tree = copy_of_tree(d, env)
        quarto = Path(d)/'bin'/'quarto'
        quarto.parent.mkdir()
        quarto.write_text('#!/bin/sh\nexit 0\n')
        quarto.chmod(0o755)
        forked(process_pages, tree, f"{quarto.parent}{os.pathsep}{env['PATH']}")
        pages = list((tree/'_proc').glob('*.ipynb'))
        n = len(site_notebooks())
        must(len(pages)>=n, f'{len(pages)} pages for {n} notebooks')
        sh(sys.executable, '.ci/pages.py', tree/'_proc', cwd=tree, env=env)
        found = Path(d)/'site'/'search.json'
        found.parent.mkdir()
        found.write_text('[]')
        sh(sys.executable, '.ci/site.py', found.parent, tree/'_proc', cwd=tree, env=env)
        flags = {entry['section'] for entry in json.loads(found.read_text())}
        must('--loro_freq' in flags, 'the search does not find --loro_freq')

def settings():
    ini = configparser.ConfigParser(delimiters=['='])
    ini.read(ROOT/'settings.ini', encoding='utf-8')
    return ini['DEFAULT']

IMPORTED_AS = {'pyyaml': 'yaml'}  # if the import is not the package's own name
NOT_DECLARED = {'bitsandbytes'}   # used if it is installed: it needs CUDA

def imported()->set[str]:
    "Return the top-level names that the package imports, without Python's own."
    names = set()
    for file in (ROOT/'lowrank_nb').glob('*.py'):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                names |= {a.name for a in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(node.module)
    return {n.split('.')[0] for n in names} - {*sys.stdlib_module_names, 'lowrank_nb'}

def modules_of(line:str)->set[str]:
    "Return the names under which the requirements of a line are imported."
    names = [re.match(r'[\w-]+', r)[0].lower() for r in line.split()]
    return {IMPORTED_AS.get(n, n).replace('-', '_') for n in names}

def requirements(env):
    "Check that each requirement is imported, and each import required by settings.ini or an extra."
    needed = modules_of(settings()['requirements'])
    optional = set()
    for key,line in settings().items():
        if key.endswith('_requirements') and not key.startswith('dev'):
            optional |= modules_of(line)
    must(not needed-imported(), f'no module imports {sorted(needed-imported())}')
    missing = imported()-needed-optional-NOT_DECLARED
    must(not missing, f'settings.ini lacks {sorted(missing)}')

WITHOUT_EXTRAS = '''import sys
extras = "pytorch_optimizer torchao accelerate lm_eval tensorboard wandb trackio nbdev".split()
sys.modules.update(dict.fromkeys(extras))
import lowrank_nb, lowrank_nb.compare, lowrank_nb.export, lowrank_nb.data
from lowrank_nb.models import load_model_config
print(lowrank_nb.__file__, load_model_config("llama_60m").hidden_size)'''

def packaging(env):
    """A wheel made from the sdist holds every module, config and recipe. The package imports from
    it without the optional libraries."""
    with tempfile.TemporaryDirectory() as d:
        tree = copy_of_tree(d, env)
        sh(sys.executable, '-m', 'build', '--no-isolation', '-o', f'{d}/dist', tree, cwd=d, env=env)
        wheel, = Path(d, 'dist').glob('*.whl')
        with zipfile.ZipFile(wheel) as z:
            names = set(z.namelist())
        files = (p for p in (tree/'lowrank_nb').rglob('*') if p.is_file())
        want = {p.relative_to(tree).as_posix() for p in files}
        must(want<=names, f'not in the wheel: {sorted(want-names)}')
        odd = [n for n in names if not n.startswith(('lowrank_nb/', 'lowrank_nb-'))]
        must(not odd, f'in the wheel: {odd}')
        pip = '-m pip --disable-pip-version-check -q install --no-deps -t'.split()
        sh(sys.executable, *pip, f'{d}/site', wheel, env=env)
        inside = dict(env, PYTHONPATH=f'{d}/site')
        said = sh(sys.executable, '-c', WITHOUT_EXTRAS, cwd=d, env=inside).stdout.split()
        must(said[0].startswith(f'{d}/site/') and said[1]=='512', said)

def tool_help(tool, env):
    must(shutil.which(tool, path=env['PATH']), f'{tool} is not installed')
    must('usage: '+tool in forked(command, tool, ['--help']), 'no usage')

def all_checks(env, times)->dict:
    "Return name -> check, the longest first."
    checks = {
        'style': style, 'export in sync, notebooks clean': in_sync,
        'no stored errors or absolute paths': outputs_stored,
        'requirements: all used, none missing': requirements,
        'site: pages made, links lead somewhere': docs, 'wheel and sdist': packaging}
    checks = {name: (lambda f=f: f(env)) for name,f in checks.items()}
    py = sys.executable
    checks['README.md in sync'] = lambda: sh(py, '.ci/readme.py', '--check', env=env)
    for p in sorted(notebooks(), key=lambda p: -p.stat().st_size):
        name = p.relative_to(ROOT/'nbs').as_posix()
        checks[name] = lambda p=p: forked(test, p, False, times)
    checks['run_c4.py --help'] = lambda: sh(py, 'run_c4.py', '--help', env=env)
    for entry in settings()['console_scripts'].split():
        tool = entry.split('=')[0]
        checks[f'{tool} --help'] = lambda tool=tool: tool_help(tool, env)
    gpu = '''--device cpu --models llama_9m --dtype float32 --batch 1 --repeats 1 --batches 1
      --out'''.split()
    checks['benchmark script'] = lambda: sh(py, 'benchmarks/gpu.py', *gpu, os.devnull, env=env)
    checks |= command_checks(env)
    order = {n: next((i for i,w in enumerate(LONGEST) if w in n), len(LONGEST)) for n in checks}
    return {n: checks[n] for n in sorted(checks, key=order.get)}

def run(name, check)->bool:
    "Run a check, which passes unless it raises; print name, outcome and seconds."
    start = time.time()
    try: check()
    except Exception as e:
        outcome, why = 'FAILED', f'\n{type(e).__name__}: {e}'
    else: outcome, why = 'ok    ', ''
    print(f'{outcome} {name}  ({time.time()-start:.0f} s){why}', flush=True)
    return outcome!='FAILED'

def print_slowest(times, n=10):
    "Print the cells that took longest; checks share the machine."
    rows = sorted((json.loads(line) for line in open(times)), reverse=True)[:n]
    print(f'the {len(rows)} slowest cells:')
    for seconds,notebook,line in rows:
        print(f'  {seconds:6.1f} s  {notebook}: {line}')

def main():
    with tempfile.TemporaryDirectory() as d:
        times = Path(d)/'times.jsonl'
        times.touch()
        env = clean_environment(f'{d}/home')
        checks = all_checks(env, times)
        if words := sys.argv[1:]:
            checks = {n: c for n,c in checks.items() if any(w in n for w in words)}
        start = time.time()
        start_server(env)
        # Three at a time on two cores: each is one process of one thread, some wait for a server.
        with ThreadPoolExecutor(3) as pool:
            passed = list(pool.map(run, checks, checks.values()))
        print(f'{len(checks)} checks in {time.time()-start:.0f} s, installation not counted')
        print_slowest(times)
    for name,ok in zip(checks, passed):
        if not ok: print(f'failed: {name}')
    print(f'{passed.count(True)} passed, {passed.count(False)} failed')
    sys.exit(not all(passed))

if __name__=='__main__': main()
