"""Are a notebook's stored outputs what its cells say today? Text must be equal, a figure must still be a figure.

    outputs.py --strip   remove from all notebooks what libraries say by the way, once a process and not again: stderr and progress bars; and join what was printed in pieces"""
import json, math, re, sys
from pathlib import Path

# Cells whose numbers depend on the machine, by notebook and id: their text must agree, their numbers to one part in a thousand.
NUMBERS_VARY = {}
# Cells whose text does, with the reason. They only have to give the same kinds of output.
TEXT_VARIES = {('12_compare.ipynb','beb1c9c0'): 'speed and memory of a run'}

_number = re.compile(r'[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?')

def _join(x): return ''.join(x) if isinstance(x, (list,tuple)) or type(x).__name__=='L' else x

def chatter(o)->bool: return o.get('name')=='stderr' or 'application/vnd.jupyter.widget-view+json' in o.get('data', {})

def shown(outputs)->dict: # kind -> text; a figure's pixels are left out
    "What a reader sees of a cell's outputs: what it prints, then each object by its plainest text."
    res = {}
    for o in outputs:
        if chatter(o): continue
        if o['output_type']=='stream': k, v = o['name'], _join(o['text'])
        elif o['output_type']=='error': k, v = 'error', o['ename']
        else:
            d = dict(o['data']); k = next(m for m in ('image/png','text/markdown','text/plain',*d) if m in d)
            v = '' if k=='image/png' else _join(d[k])+'\n'
        res[k] = res.get(k, '') + v
        if k=='image/png': res['figures'] = res.get('figures', 0)+1
    return res

def close(a:str, b:str, rel:float=1e-3)->bool:
    "Equal but for numbers, and those agree to `rel`."
    value = lambda s: float(s.replace(',', ''))
    return _number.sub('#', a)==_number.sub('#', b) and all(math.isclose(value(x), value(y), rel_tol=rel) for x,y in zip(_number.findall(a), _number.findall(b)))

def _masked(s:str)->str: return re.sub(r'[-# ]+', ' ', _number.sub('#', s))    # the widths of a table follow its numbers

def difference(nb:str, cell_id:str, stored, now, exact:bool=True)->str|None: # what differs, in one line
    "Compare a cell's stored outputs with those of today; not `exact`: another processor may round otherwise, so that a number is a number."
    a, b = shown(stored), shown(now)
    if a.keys()!=b.keys(): return f"stored {', '.join(a) or 'nothing'}, now {', '.join(b) or 'nothing'}"
    if (nb,cell_id) in TEXT_VARIES: return None
    for k in a:
        if a[k]==b[k] or isinstance(a[k], str) and ((nb,cell_id) in NUMBERS_VARY and close(a[k], b[k]) or not exact and _masked(a[k])==_masked(b[k])): continue
        if k=='figures': return f'stored {a[k]} figures, now {b[k]}'
        lines = [*zip(a[k].splitlines()+[''], b[k].splitlines()+[''])]
        x, y = next(((x,y) for x,y in lines if x!=y), (f'{a[k].count(chr(10))} lines', f'{b[k].count(chr(10))} lines'))
        return f'{k}: stored {x[:160]!r}, now {y[:160]!r}'

def joined(outputs:list)->list: # what is printed in several pieces is one
    out = []
    for o in outputs:
        if out and o['output_type']=='stream' and (out[-1]['output_type'],out[-1].get('name'))==('stream',o['name']): out[-1]['text'] = [*(_join(out[-1]['text'])+_join(o['text'])).splitlines(True)]
        else: out.append(o)
    return out

def strip(p:Path):
    nb = json.loads(p.read_text(encoding='utf-8')); code = [c for c in nb['cells'] if c['cell_type']=='code']
    was = json.dumps(nb); nb['metadata'].pop('widgets', None)
    for c in code: c['outputs'] = joined([o for o in c['outputs'] if not chatter(o)])
    if json.dumps(nb)!=was: p.write_text(json.dumps(nb, indent=1, ensure_ascii=False)+'\n', encoding='utf-8')

if __name__=='__main__' and '--strip' in sys.argv:
    for p in (Path(__file__).resolve().parent.parent/'nbs').glob('*.ipynb'): strip(p)
