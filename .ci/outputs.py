"""Compare what a notebook's cells say today with the outputs it stores.

    outputs.py --strip   in all notebooks: remove stderr and progress bars, join printed pieces,
                         and store tables of pandas as Markdown (HTML makes Quarto load scripts)"""
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

from common import ROOT, notebooks

sys.path.insert(0, str(ROOT))
from lowrank_nb.files import markdown_table # noqa: E402

# Cells whose text depends on the machine: they only have to give the same kinds of output.
TEXT_VARIES = {}  # (notebook, cell id): reason

NUMBER = re.compile(r'[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?')

def joined(x)->str:
    "Return text that may be stored as a list of lines."
    return x if isinstance(x, str) else ''.join(x)

def is_chatter(output:dict)->bool:
    "Check whether an output is a library's aside (stderr) or a progress bar."
    bar = 'application/vnd.jupyter.widget-view+json' in output.get('data', {})
    return bar or output.get('name')=='stderr'

class Rows(HTMLParser):
    "Collect the cells of a table of pandas, row by row; a cell fills all columns that it spans."
    def __init__(self):
        super().__init__()
        self.rows, self.heads, self.span, self.below = [], 0, 0, {}

    def handle_starttag(self, tag, attrs):
        if tag=='tr': self.rows.append([])
        if tag not in ('th', 'td'): return
        row, attrs = self.rows[-1], dict(attrs)
        while self.below.get(len(row)): # a cell of a row above reaches down to here
            self.below[len(row)] -= 1
            row.append('')
        self.below[len(row)] = int(attrs.get('rowspan', 1))-1
        self.span = int(attrs.get('colspan', 1))
        row += ['']*self.span

    def handle_endtag(self, tag):
        if tag in ('th', 'td'): self.span = 0
        if tag=='thead':
            self.heads = len(self.rows)

    def handle_data(self, data):
        row = self.rows[-1] if self.rows else []
        for i in range(len(row)-self.span, len(row)):
            row[i] += data.strip()

def as_markdown(html:str)->str:
    "Turn a table of pandas into Markdown. Its last row of heads may name the index."
    parser = Rows()
    parser.feed(html)
    heads = parser.rows[:parser.heads]
    body = parser.rows[parser.heads:]
    names = heads.pop() if len(heads)>1 and not heads[-1][-1] else []
    head = [' '.join(dict.fromkeys(filter(None, column))) for column in zip(*heads)]
    for i,name in enumerate(names):
        head[i] = name or head[i]
    if not head[0] and [row[0] for row in body]==[*map(str, range(len(body)))]: # a mere number
        head, body = head[1:], [row[1:] for row in body]
    head = [h or ('part' if i else 'case') for i,h in enumerate(head)]
    number = re.compile(r'[-+]?[\d.,]+(e[-+]?\d+)?%?|NaN|')
    right = [i for i in range(1, len(head)) if all(number.fullmatch(row[i]) for row in body)]
    return markdown_table([escaped(h) for h in head], [[*map(escaped, row)] for row in body], right)

def escaped(text:str)->str: # for Markdown
    return re.sub(r'([\\*<|$])', r'\\\1', text)

def without_html(output:dict)->dict:
    "Return an output with Markdown in place of the HTML of a table of pandas."
    data = output.get('data', {})
    if 'class="dataframe"' not in joined(data.get('text/html', '')):
        return output
    table = as_markdown(joined(data['text/html']))
    return output | dict(data={'text/markdown': table.splitlines(True)})

def plainest(output:dict)->tuple[str,str]:
    "Return the kind of an output and its text; a figure has no text."
    if output['output_type']=='stream':
        return output['name'], joined(output['text'])
    if output['output_type']=='error':
        return 'error', output['ename']
    data = without_html(output)['data']
    kind = next(m for m in ('image/png', 'text/markdown', 'text/plain', *data) if m in data)
    return kind, '' if kind=='image/png' else joined(data[kind])+'\n'

def shown(outputs:list)->dict:
    "Return what a reader sees of a cell: kind -> text, and the number of figures."
    seen = {}
    for output in outputs:
        if is_chatter(output): continue
        kind, text = plainest(output)
        seen[kind] = seen.get(kind, '') + text
        if kind=='image/png':
            seen['figures'] = seen.get('figures', 0) + 1
    return seen

def masked(text:str)->str:
    "Return text with `#` for every number; the width of a table follows its numbers."
    return re.sub(r'[-# ]+', ' ', NUMBER.sub('#', text))

def first_difference(a:str, b:str)->str:
    "Describe the first line in which two texts differ."
    for x,y in zip(a.splitlines()+[''], b.splitlines()+['']):
        if x!=y:
            return f'stored {x[:160]!r}, now {y[:160]!r}'
    return f'stored {a.count(chr(10))} lines, now {b.count(chr(10))}'

def difference(notebook:str, cell_id:str, stored:list, now:list, exact:bool)->str|None:
    """Describe how a cell's outputs differ from the stored ones; None if they agree.
    Unless `exact`, a number is any number: another processor may round differently."""
    a, b = shown(stored), shown(now)
    kinds = [', '.join(x) or 'nothing' for x in (a, b)]
    if a.keys()!=b.keys():
        return f'stored {kinds[0]}, now {kinds[1]}'
    if (notebook, cell_id) in TEXT_VARIES:
        return None
    for kind in a:
        if a[kind]==b[kind]: continue
        if kind=='figures':
            return f'stored {a[kind]} figures, now {b[kind]}'
        if exact or masked(a[kind])!=masked(b[kind]):
            return f'{kind}: {first_difference(a[kind], b[kind])}'
    return None

def without_chatter(outputs:list)->list:
    "Drop chatter, join what was printed in several pieces, and store tables as Markdown."
    kept = []
    for output in outputs:
        if is_chatter(output): continue
        output = without_html(output)
        last = kept[-1] if kept else {}
        stream = output['output_type']=='stream' and output['name']
        if stream and stream==last.get('name'):
            last['text'] = (joined(last['text']) + joined(output['text'])).splitlines(True)
        else: kept.append(output)
    return kept

def strip(path:Path)->None:
    "Rewrite the stored outputs of a notebook, if need be."
    notebook = json.loads(path.read_text(encoding='utf-8'))
    before = json.dumps(notebook)
    notebook['metadata'].pop('widgets', None)
    for cell in notebook['cells']:
        if cell['cell_type']=='code':
            cell['outputs'] = without_chatter(cell['outputs'])
    if json.dumps(notebook)==before: return
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    path.write_text(text+'\n', encoding='utf-8')

if __name__=='__main__' and '--strip' in sys.argv:
    for path in notebooks(): strip(path)
