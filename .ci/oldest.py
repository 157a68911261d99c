"""Run the core notebooks and a short training with the oldest versions that settings.ini admits."""
import configparser
import re
import sys
import tempfile
from importlib.metadata import version

from common import ROOT, clean_environment, sh

CORE = '''00_core 01_lowrank 02_loro 03_loro_fast 04_cola 05_lost 08_plain_layers
  09_kinds 10_models 11_layers 12_checkpoints 13_factorize 14_export 20_adam
  22_loro_adamw 24_schedules 29_optimizers 35_evaluate'''.split()
RUN = '''--model_config llama_9m --tokenizer bytes --train_data_path embedded
  --val_data_path embedded --num_training_steps 4 --warmup_steps 1 --batch_size 2
  --workers 0 --eval_tokens 500 --optimizer loro_adamw --loro_scope all
  --loro_attn_rank 8 --loro_mlp_rank 8 --loro_freq 2
  --save_ckpt True'''.split()

def bounds()->dict[str,str]:
    "Return the lower bound of each requirement of settings.ini."
    ini = configparser.ConfigParser(delimiters=['='])
    ini.read(ROOT/'settings.ini', encoding='utf-8')
    requirements = ini['DEFAULT']['requirements'].split()
    return dict(re.match(r'([\w-]+)>=([\d.]+)', r).groups() for r in requirements)

def short(v:str)->str:
    "Return a version without zeros at its end."
    return re.sub(r'(\.0)+$', '', v)

def check_versions():
    "Compare settings.ini, constraints-min.txt and this environment; torch may be newer."
    pins = (ROOT/'constraints-min.txt').read_text()
    pinned = dict(re.findall(r'^([\w-]+)==([\d.]+)', pins, flags=re.M))
    for name,oldest in bounds().items():
        if name=='torch': continue
        if short(pinned[name])!=short(oldest) or version(name)!=pinned[name]:
            sys.exit(f'{name}: settings.ini admits {oldest}, constraints-min.txt pins '
                     f'{pinned[name]}, the environment has {version(name)}')

def main():
    check_versions()
    with tempfile.TemporaryDirectory() as d:
        env = clean_environment(f'{d}/home')
        for name in CORE:
            print(name, flush=True)
            sh(sys.executable, '.ci/notebook.py', f'nbs/{name}.ipynb', env=env)
        sh(sys.executable, 'run_c4.py', *RUN, '--save_dir', f'{d}/run', env=env)

if __name__=='__main__': main()
