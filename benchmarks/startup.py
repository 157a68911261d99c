"""What `import lowrank_nb` adds to importing torch and transformers, and how long `--help` takes.

Processes are started in turn."""
import subprocess
import sys
from statistics import median

from common import HERE, finish, flag_parser, interleave, row

# `import transformers` alone loads no model code.
LIBRARIES = '''import torch
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel'''
CANDIDATES = {
    'libraries': ['-c', LIBRARIES],
    'libraries and datasets': ['-c', f'{LIBRARIES}\nimport datasets'],
    'ours': ['-c', f'{LIBRARIES}\nimport lowrank_nb'],
    'training': ['-c', f'{LIBRARIES}\nimport lowrank_nb.run_c4'],
    'help': ['run_c4.py', '--help']}

def process(arguments:list[str]):
    "Return a function that runs Python with these arguments."
    def run():
        command = [sys.executable, *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=HERE.parent)
    return run

def main():
    args = flag_parser(__doc__).parse_args()
    s = interleave({k: process(a) for k,a in CANDIDATES.items()}, args.repeats)
    def extra(a, b): return median(x-y for x,y in zip(s[a], s[b]))
    ours = 'import lowrank_nb beyond'
    rows = [
        row(f"{ours} torch and transformers' models, s", extra('ours', 'libraries')),
        row(f'{ours} these and datasets, s', extra('ours', 'libraries and datasets')),
        row('the command line beyond import lowrank_nb, s', extra('training', 'ours')),
        row('python run_c4.py --help, s', median(s['help']))]
    finish('startup', rows, args.out)

if __name__=='__main__': main()
