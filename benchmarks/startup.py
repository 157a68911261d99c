"""What `import lowrank_nb` adds to importing torch and transformers, and how long `python run_c4.py --help` takes; processes in turn."""
import subprocess, sys
from common import here, interleave, median, parser, row, save, show

if __name__=='__main__':
    a = parser(__doc__).parse_args()
    run = lambda *c: (lambda: subprocess.run([sys.executable,*c], check=True, capture_output=True, cwd=here.parent))
    model = 'import torch; from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel'     # `import transformers` alone loads no model code
    s = interleave({'lazy': run('-c','import torch, transformers'), 'libraries': run('-c',model), 'ours': run('-c',f'{model}; import lowrank_nb'), 'lazy, ours': run('-c','import torch, transformers, lowrank_nb'), 'all modules': run('-c',f'{model}; import datasets, lowrank_nb, lowrank_nb.training, lowrank_nb.run_c4'),
                    'libraries and datasets': run('-c',f'{model}; import datasets'), 'help': run('run_c4.py','--help')}, a.repeats)
    extra = lambda x,y: median(p-q for p,q in zip(s[x], s[y]))
    rows = [row("import lowrank_nb beyond torch and transformers' model classes, s", extra('ours','libraries'), .3, False), row('import lowrank_nb beyond torch and the bare `import transformers`, s', extra('lazy, ours','lazy'), None), row('every module of the training chain beyond these and datasets, s', extra('all modules','libraries and datasets'), None),
            row('python run_c4.py --help, s', median(s['help']), .5, False)]
    show(rows); save('startup', rows, 'python benchmarks/startup.py', a.out)
