"""Compare what a notebook's cells say today with the outputs it stores.

    outputs.py --strip   remove stderr and progress bars from all notebooks, join printed pieces"""
import json
import re
import sys
from pathlib import Path

from common import notebooks

# Cells whose text depends on the machine: they only have to give the same kinds of output.
TEXT_VARIES = {}  # (notebook, cell id): reason

NUMBER = re.compile(r'[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?')

def joined(x)->str:
    "Return text that may be stored as a list of lines."
    return x if isinstance(x, str) else ''.join(x)

def is_chatter(output:dict)->bool:
    "Whether an output is a library's aside (stderr) or a progress bar."
    bar = 'application/vnd.jupyter.widget-view+json' in output.get('data', {})
    return bar or output.get('name')=='stderr'

def plainest(output:dict)->tuple[str,str]:
    "Return the kind of an output and its text; a figure has no text."
    if output['output_type']=='stream': return output['name'], joined(output['text'])
    if output['output_type']=='error': return 'error', output['ename']
    data = dict(output['data'])
    kind = next(m for m in ('image/png', 'text/markdown', 'text/plain', *data) if m in data)
    return kind, '' if kind=='image/png' else joined(data[kind])+'\n'

def shown(outputs:list)->dict:
    "Return what a reader sees of a cell: kind -> text, and the number of figures."
    seen = {}
    for output in outputs:
        if is_chatter(output): continue
        kind, text = plainest(output)
        seen[kind] = seen.get(kind, '') + text
        if kind=='image/png': seen['figures'] = seen.get('figures', 0) + 1
    return seen

def masked(text:str)->str:
    "Return text with `#` for every number; the width of a table follows its numbers."
    return re.sub(r'[-# ]+', ' ', NUMBER.sub('#', text))

def first_difference(a:str, b:str)->str:
    "Describe the first line in which two texts differ."
    for x,y in zip(a.splitlines()+[''], b.splitlines()+['']):
        if x!=y: return f'stored {x[:160]!r}, now {y[:160]!r}'
    return f'stored {a.count(chr(10))} lines, now {b.count(chr(10))}'

def difference(notebook:str, cell_id:str, stored:list, now:list, exact:bool)->str|None:
    """Describe how a cell's outputs differ from the stored ones; None if they agree.
    Unless `exact`, a number is any number: another processor may round differently."""
    a, b = shown(stored), shown(now)
    kinds = [', '.join(x) or 'nothing' for x in (a, b)]
    if a.keys()!=b.keys(): return f'stored {kinds[0]}, now {kinds[1]}'
    if (notebook, cell_id) in TEXT_VARIES: return None
    for kind in a:
        if a[kind]==b[kind]: continue
        if kind=='figures': return f'stored {a[kind]} figures, now {b[kind]}'
        if exact or masked(a[kind])!=masked(b[kind]):
            return f'{kind}: {first_difference(a[kind], b[kind])}'
    return None

def without_chatter(outputs:list)->list:
    "Drop chatter and join what was printed in several pieces."
    kept = []
    for output in outputs:
        if is_chatter(output): continue
        last = kept[-1] if kept else {}
        stream = output['output_type']=='stream' and output['name']
        if stream and stream==last.get('name'):
            last['text'] = (joined(last['text']) + joined(output['text'])).splitlines(True)
        else: kept.append(output)
    return kept

def strip(path:Path)->None:
    "Rewrite a notebook without chatter, if it has any."
    notebook = json.loads(path.read_text(encoding='utf-8'))
    before = json.dumps(notebook)
    notebook['metadata'].pop('widgets', None)
    for cell in notebook['cells']:
        if cell['cell_type']=='code': cell['outputs'] = without_chatter(cell['outputs'])
    if json.dumps(notebook)==before: return
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    path.write_text(text+'\n', encoding='utf-8')

if __name__=='__main__' and '--strip' in sys.argv:
    for path in notebooks(): strip(path)
