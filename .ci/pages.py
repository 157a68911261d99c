"""Check the site without Quarto: links and anchors, alt text, sidebar, titles, citations, API.

    pages.py [PROC]   PROC is the folder that nbdev_proc_nbs writes

Each check yields what is wrong, a line each. Without PROC only the notebooks are checked."""
import ast
import configparser
import json
import re
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import yaml

from common import ROOT, site_notebooks
from outputs import is_chatter

NBS = ROOT/'nbs'
FENCE = re.compile(r'^ *```.*?^ *```', re.M|re.S)
Lines = Iterator[str]

def cells(page:Path)->list[dict]:
    return json.loads(page.read_text(encoding='utf-8'))['cells']

def source(cell:dict)->str:
    return ''.join(cell['source'])

def data_of(cell:dict)->list[dict]:
    "Return the data of a cell's displayed outputs: kind -> text."
    return [o['data'] for o in cell.get('outputs', []) if 'data' in o]

def pages_in(proc:Path)->list[Path]:
    "Return the processed pages; tests are left out of the site."
    return sorted(proc.glob('*.ipynb'))

# ---- the notebooks

def alt_text()->Lines:
    "Every stored figure is described in words."
    described = re.compile(r'(?:#\|.*\n)*?#\| fig-alt: "([^"\n]{40,})"\n')
    for p in site_notebooks():
        for c in cells(p):
            drawn = any(kind.startswith('image/') for data in data_of(c) for kind in data)
            if c['cell_type']=='code' and drawn and not described.match(source(c)):
                yield f"{p.name} {c['id']}: a figure without #| fig-alt of 40 characters at the top"

def chatter()->Lines:
    "No stored output is a library's aside or a progress bar."
    for p in site_notebooks():
        for c in cells(p):
            if any(map(is_chatter, c.get('outputs', []))):
                yield f"{p.name} {c['id']}: stores stderr or a progress bar; run outputs.py --strip"

def entries(contents)->list[str]:
    "Return the pages of a sidebar, in order."
    if isinstance(contents, str): return [contents]
    nested = (o['contents'] if isinstance(o, dict) else o for o in contents)
    return [page for o in nested for page in entries(o)]

def sidebar()->Lines:
    "Every notebook is in the sidebar once; every page of sidebar and navbar exists."
    files = ROOT/'_quarto.yml', NBS/'sidebar.yml'
    quarto, side = (yaml.safe_load(f.read_text(encoding='utf-8')) for f in files)
    listed = entries(side['website']['sidebar']['contents'])
    navbar = [o['href'] for o in quarto['website']['navbar']['left']]
    names = {p.name for p in site_notebooks()}
    for n in sorted({n for n in listed if listed.count(n)>1}): yield f'sidebar.yml: {n} twice'
    for n in sorted(names-{*listed}): yield f'{n} is not in sidebar.yml'
    for n in [*listed, *navbar]:
        if n not in names: yield f'{n} of the sidebar or navbar does not exist'

def index()->Lines:
    "The page of all notebooks links to every other page, and llms.txt names it."
    text = '\n'.join(source(c) for c in cells(NBS/'contents.ipynb'))
    llms = (ROOT/'llms.txt').read_text(encoding='utf-8')
    for p in site_notebooks():
        if p.name in ('index.ipynb', 'contents.ipynb'): continue
        if f']({p.name})' not in text: yield f'contents.ipynb does not link to {p.name}'
        if f'(nbs/{p.name})' not in llms: yield f'llms.txt does not name nbs/{p.name}'

def titles()->Lines:
    "The first cell is a title and a description: the site shows nothing else of it."
    title = re.compile(r'# \S.*\n+> \S.*(\n+- [\w-]+: .*)*\s*')
    for p in site_notebooks():
        first = cells(p)[0]
        if first['cell_type']!='markdown' or not title.fullmatch(source(first)):
            yield f'{p.name}: the first cell must be "# title" and "> description" only'

def config()->Lines:
    "Quarto deletes pages of its own with `commonmark` and without `keep-md`; no font from outside."
    quarto = yaml.safe_load((ROOT/'_quarto.yml').read_text(encoding='utf-8'))
    if 'commonmark' in quarto['format']: yield '_quarto.yml: the format commonmark'
    styles = [NBS/'site.scss', NBS/'styles.css']
    for file in styles:
        if re.search('https?:', file.read_text(encoding='utf-8')): yield f'{file.name}: a link'
    if '$web-font-path: false' not in styles[0].read_text(encoding='utf-8'):
        yield 'site.scss: the theme loads its fonts from another host'

def opened(text:str)->Lines:
    "List the languages of blocks of code."
    inside = False
    for line in text.splitlines():
        if not line.strip().startswith('```'): continue
        if not inside: yield line.strip('` ')
        inside = not inside

def blocks()->Lines:
    "Every block of code in Markdown names its language: shells wrap, Python is colored."
    for p in site_notebooks():
        for c in cells(p):
            text = source(c) if c['cell_type']=='markdown' else ''
            if '' in opened(text): yield f"{p.name} {c['id']}: a block of code without a language"

def scripts()->Lines:
    "No stored output is HTML: Quarto would load scripts from other hosts."
    for p in site_notebooks():
        for c in cells(p):
            kinds = {kind for data in data_of(c) for kind in data}
            if kinds & {'text/html', 'application/javascript'}:
                yield f"{p.name} {c['id']}: stores HTML; run outputs.py --strip"

def headings()->Lines:
    "A heading is at most one level below the one before it."
    for p in site_notebooks():
        text, level = '\n'.join(source(c) for c in cells(p) if c['cell_type']=='markdown'), 1
        for marks in re.findall(r'^(#{1,6}) ', FENCE.sub('', text), flags=re.M):
            if len(marks)>level+1: yield f'{p.name}: a heading of level {len(marks)} after {level}'
            level = len(marks)

def alt_signs()->Lines:
    "A percent sign in an alternative text is taken for an address."
    for p in site_notebooks():
        for c in cells(p):
            for alt in re.findall(r'#\| fig-alt: "(.*)"', source(c)):
                if '%' in alt: yield f"{p.name} {c['id']}: % in the alternative text"

# ---- the processed pages

def prose(page:Path)->str:
    "Return the Markdown that a reader of the page gets, from cells and outputs."
    parts = []
    for c in cells(page):
        if c['cell_type']=='markdown': parts.append(source(c))
        parts += [''.join(d['text/markdown']) for d in data_of(c) if 'text/markdown' in d]
    return '\n\n'.join(parts)

def without_code(text:str)->str:
    return re.sub(r'`+[^`\n]*`+', '', FENCE.sub('', text))

def anchors(text:str)->set[str]:
    "Return the ids that Pandoc gives to headings."
    found, heading = [], re.compile(r'^#{1,6} +(.+?)(?: *\{#([\w.-]+)[^}]*\})? *$', re.M)
    for title,own in heading.findall(FENCE.sub('', text)):
        plain = re.sub(r'\]\([^)]*\)|[*$`\\]', '', title)
        slug = re.sub(r'\s', '-', re.sub(r'[^\w\s.-]', '', plain).lower())
        slug = re.sub(r'^[^a-z]*', '', slug) or 'section'
        same = sum(re.fullmatch(re.escape(slug)+r'(-\d+)?', o) is not None for o in found)
        found.append(own or (f'{slug}-{same}' if same else slug))
    return set(found)

def front_matter(page:Path)->dict:
    first = cells(page)[0]
    return yaml.safe_load(source(first).strip().strip('-')) if first['cell_type']=='raw' else {}

def home()->str:
    "Return the address of the site."
    ini = configparser.ConfigParser(delimiters=['='])
    ini.read(ROOT/'settings.ini', encoding='utf-8')
    return ini['DEFAULT']['doc_host'] + ini['DEFAULT']['doc_baseurl'] + '/'

def links(proc:Path)->Lines:
    "Every link inside the site leads to a page, a file or a heading that exists."
    pages = {p.name: p for p in pages_in(proc)}
    ids = {n: anchors(prose(p)) for n,p in pages.items()}
    html = {front_matter(p).get('output-file'): n for n,p in pages.items()}
    for name,page in pages.items():
        text = without_code(prose(page))
        found = re.findall(r'\]\(([^)\s]+)\)', text) + re.findall(r'(?:href|src)="([^"]+)"', text)
        for link in found:
            own = link.startswith(home())
            if not own and re.match(r'[a-z]+:', link): continue
            file,_,anchor = link.removeprefix(home()).partition('#')
            target = (html.get(file) if own else file) or (name if not file else '')
            if not target or not (target in pages or (proc/target).is_file()):
                yield f'{name}: {link} leads nowhere'
            elif anchor and target in pages and anchor.lower() not in ids[target]:
                yield f'{name}: {link} names no heading of {target}'

def citations(proc:Path)->Lines:
    "Every [@key] is in references.bib, and every entry there is cited."
    bibliography = (proc/'references.bib').read_text(encoding='utf-8')
    known, cited = set(re.findall(r'^@\w+\{([\w-]+),', bibliography, flags=re.M)), set()
    for p in pages_in(proc):
        brackets = re.findall(r'\[[^\]]*@[^\]]*\]', without_code(prose(p)))
        keys = set(re.findall(r'(?<![\w.])@([a-z][\w-]*)', ' '.join(brackets)))
        cited |= keys
        for key in sorted(keys-known): yield f'{p.name}: @{key} is not in references.bib'
    for key in sorted(known-cited): yield f'references.bib: {key} is not cited'

def dashes(proc:Path)->Lines:
    "Outside of code a flag loses one of its dashes, and <this> is taken for a tag."
    formula = re.compile(r'\$\$.*?\$\$|\$[^$\n]*\$', re.S)
    flag = re.compile(r'(?<![\w-])(--[a-z]\w+)')
    known = 'a|b|br|code|details|summary|div|span|img|sub|sup|em'
    tag = re.compile(rf'(?<!\\)<(?!/?(?:{known})\b|!--|https?:)[a-z]\w*>')
    for p in pages_in(proc):
        text = formula.sub('', without_code(prose(p)))
        for m in flag.finditer(text): yield f'{p.name}: {m[1]} outside of code'
        for m in tag.finditer(text): yield f'{p.name}: {m[0]} is taken for a tag'

def documented(page:Path)->set[str]:
    "Return the names whose documentation the page shows."
    names = set()
    for c in cells(page):
        if c['cell_type']=='code' and any('text/markdown' in d for d in data_of(c)):
            shown = re.findall(r'^show_doc\(([\w.]+)', source(c), re.M)
            names |= {n.rpartition('.')[2] for n in shown}
    return names

def without_source(page:Path)->bool:
    "Whether no documentation links to its source: nbdev's entry point is not installed."
    docs = [c for c in cells(page) if c['cell_type']=='code' and 'show_doc' in source(c)]
    text = [''.join(d.get('text/markdown', '')) for c in docs for d in data_of(c)]
    # one link is enough: torch wraps an optimizer's `step`, which therefore has none
    return bool(text) and not any('[source](' in t for t in text)

def api(proc:Path)->Lines:
    "Every public function and class is documented on the page of its module."
    for file in sorted((ROOT/'lowrank_nb').glob('*.py')):
        text = file.read_text(encoding='utf-8')
        notebook = re.search(r'File to edit: \.\./nbs/(\S+\.ipynb)', text)
        if not notebook: continue
        if without_source(proc/notebook[1]):
            yield f'{notebook[1]}: no links to the source; install the package: pip install -e .'
        kinds = ast.FunctionDef, ast.ClassDef
        names = {o.name for o in ast.parse(text).body if isinstance(o, kinds)}
        for n in sorted(names-documented(proc/notebook[1])):
            if not n.startswith('_'): yield f'{notebook[1]}: {n} has no documentation on the page'

def fences(proc:Path)->Lines:
    "A block of code shows a link as it is typed. (nbdev links names in a signature's comments.)"
    for p in pages_in(proc):
        for block in re.findall(r'^```.*?^```', prose(p), flags=re.M|re.S):
            for m in re.finditer(r'\[`[^`]+`\]\(', block): yield f'{p.name}: a link in code: {m[0]}'

def stars(proc:Path)->Lines:
    "Documentation is shown in italics, which a * outside of code would end."
    for p in pages_in(proc):
        for line in prose(p).splitlines():
            inside = re.sub(r'`[^`]*`', '', line[1:-1])
            if re.fullmatch(r'\*[^*\s].*\*', line) and '*' in inside:
                yield f'{p.name}: a * outside of code: {line[:80]}'

def promises(proc:Path)->Lines:
    "Something follows on the page after a colon. (Private code is shown if a cell says `exports`.)"
    for p in pages_in(proc):
        page = cells(p)
        for i,c in enumerate(page):
            text = source(c).rstrip()
            if c['cell_type']!='markdown' or not text.endswith(':'): continue
            after = takewhile(lambda o: o['cell_type']!='markdown', page[i+1:])
            if not any(source(o).strip() or o.get('outputs') for o in after):
                yield f'{p.name}: nothing follows: ...{text[-60:]}'

def heads(proc:Path)->Lines:
    "Every column of a table has a head."
    for p in pages_in(proc):
        for head in re.findall(r'^(\|.*\|) *\n\|[-:| ]+\| *$', prose(p), flags=re.M):
            if not all(h.strip() for h in head.strip('|').split('|')):
                yield f'{p.name}: a column without a head: {head[:60]}'

CHECKS = (alt_text, alt_signs, chatter, scripts, sidebar, index, titles, config, blocks, headings)
OF_PAGES = links, citations, dashes, api, fences, stars, promises, heads

def main():
    wrong = [line for check in CHECKS for line in check()]
    for proc in map(Path, sys.argv[1:2]):
        for check in OF_PAGES: wrong += check(proc)
    if wrong: sys.exit('\n'.join(['the site:', *wrong]))

if __name__=='__main__': main()
