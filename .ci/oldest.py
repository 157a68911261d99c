"""The oldest versions that settings.ini admits: are they what this environment holds, and do the core notebooks and a short run pass with them?"""
import configparser, os, re, subprocess, sys, tempfile
from importlib.metadata import version
from pathlib import Path

root = Path(__file__).resolve().parent.parent
env = dict(os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", OMP_NUM_THREADS='1', TOKENIZERS_PARALLELISM='false', MPLBACKEND='agg')
RUN = '''--model_config llama_9m --tokenizer bytes --train_data_path embedded --val_data_path embedded --num_training_steps 4 --warmup_steps 1 --batch_size 2 --workers 0
  --eval_tokens 500 --optimizer loro_adamw --loro_scope all --loro_attn_rank 8 --loro_mlp_rank 8 --loro_freq 2 --save_ckpt True'''

def bounds()->dict[str,str]:
    "Name and lower bound of each requirement of settings.ini."
    ini = configparser.ConfigParser(delimiters=['=']); ini.read(root/'settings.ini', encoding='utf-8')
    return dict(re.match(r'([\w-]+)>=([\d.]+)', r).groups() for r in ini['DEFAULT']['requirements'].split())

def check_versions():
    "Every requirement has a bound, constraints-min.txt pins it there, and this environment holds it. torch is newer, as that file says."
    pinned = dict(re.findall(r'^([\w-]+)==([\d.]+)', (root/'constraints-min.txt').read_text(), flags=re.M))
    for name,oldest in bounds().items():
        if name!='torch' and (re.sub(r'(\.0)+$', '', pinned[name]), version(name))!=(re.sub(r'(\.0)+$', '', oldest), pinned[name]):
            sys.exit(f'{name}: settings.ini admits {oldest}, constraints-min.txt pins {pinned[name]}, here is {version(name)}')

if __name__=='__main__':
    check_versions()
    for n in ('00','01','02','03','04','05','06','08','09','13'):
        p, = (root/'nbs').glob(f'{n}_*.ipynb')
        print(p.name, flush=True); subprocess.run([sys.executable,'.ci/timed.py',p,os.devnull], cwd=root, env=env, check=True)
    with tempfile.TemporaryDirectory() as d: subprocess.run([sys.executable,'run_c4.py',*RUN.split(),'--save_dir',f'{d}/run'], cwd=root, env=env, check=True)
