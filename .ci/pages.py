"""Check the site without Quarto: its configuration, links and anchors, headings, tables, alt text,
shell blocks, units, sidebar, titles, citations, API.

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

# ---- the configuration

HOST = re.compile(r'(?:https?:)?//[\w.-]+\.\w+')

def configuration(config:dict, folder:Path)->Lines:
    "The formats go together, and the site looks and works the same without a network."
    formats = config['format']
    html = formats['html']
    # keep-md: false removes the .md of a page, which commonmark has just written
    if len(formats)>1 and not html.get('keep-md'):
        yield f'_quarto.yml: keep-md: false deletes pages of {", ".join({*formats}-{"html"})}'
    if html.get('html-math-method')!='mathml': yield '_quarto.yml: formulas need an outside script'
    for name,theme in html['theme'].items():
        own = [folder/f for f in theme if f.endswith('.scss')]
        if not any('$web-font-path: false;' in f.read_text(encoding='utf-8') for f in own):
            yield f'_quarto.yml: the theme {name} loads fonts from an outside host'
    icon = config['website'].get('favicon')
    if not icon or not (folder/icon).is_file(): yield '_quarto.yml: no favicon'

def config()->Lines:
    "The configuration and its files name no outside host, but in links."
    file = NBS/'_quarto.yml'
    tree = yaml.safe_load(file.read_text(encoding='utf-8'))
    yield from configuration(tree, NBS)
    html = tree['format']['html']
    named = [html['css'], *(f for t in html['theme'].values() for f in t if f.endswith('.scss'))]
    texts = {f: (NBS/f).read_text(encoding='utf-8') for f in named}
    texts['_quarto.yml'] = json.dumps(html)
    for f,text in texts.items():
        for m in HOST.finditer(text): yield f'{f}: loads from {m[0]}'

# ---- the notebooks

def alt_text()->Lines:
    "Every stored figure is described in words, without %, which Quarto reads as an address."
    described = re.compile(r'(?:#\|.*\n)*?#\| fig-alt: "([^"\n]{40,})"\n')
    for p in site_notebooks():
        for c in cells(p):
            drawn = any(kind.startswith('image/') for data in data_of(c) for kind in data)
            if c['cell_type']!='code' or not drawn: continue
            found = described.match(source(c))
            if not found:
                yield f"{p.name} {c['id']}: a figure without #| fig-alt of 40 characters at the top"
            elif '%' in found[1]: yield f"{p.name} {c['id']}: % in fig-alt; write percent"

def chatter()->Lines:
    "No stored output is a library's aside or a progress bar."
    for p in site_notebooks():
        for c in cells(p):
            if any(map(is_chatter, c.get('outputs', []))):
                yield f"{p.name} {c['id']}: stores stderr or a progress bar; run outputs.py --strip"

def html_outputs()->Lines:
    "No output is HTML or a script: for these Quarto loads jQuery and require.js from elsewhere."
    for p in site_notebooks():
        for c in cells(p):
            for kind in {kind for data in data_of(c) for kind in data}:
                if kind in ('text/html', 'application/javascript'):
                    yield f"{p.name} {c['id']}: stores {kind}; run outputs.py --strip"

TOKENS, BYTES = (re.compile(f'nats per {unit}') for unit in ('token', 'byte'))
DRAWS = re.compile(r'\bdraw_(?:curves|rates|costs|runs)\(')
GIVEN = re.compile(r'unit=["\']byte["\']')

def other_unit(code:str)->bool:
    "Check whether a cell draws real losses per token: by its words, or by a default of `plots`."
    if 'fig-alt' not in code or re.search('fig-alt: .*made-up', code): return False
    left = len(DRAWS.findall(code)) - len(GIVEN.findall(code))
    return bool(TOKENS.search(code)) or left>0 and not BYTES.search(code)

def units()->Lines:
    "A figure's loss has the unit of the text: nats per byte if the text never says per token."
    for p in site_notebooks():
        page = cells(p)
        text = '\n'.join(map(prose_of, page))
        study = any('c4_bytes.jsonl' in source(c) for c in page)
        if TOKENS.search(text) or not (study or BYTES.search(text)): continue
        for c in page:
            if c['cell_type']=='code' and other_unit(source(c)):
                yield f"{p.name} {c['id']}: the figure's unit is nats per token; pass unit='byte'"

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
    "The page of all notebooks links to each; llms.txt has its title and description."
    text = '\n'.join(source(c) for c in cells(NBS/'contents.ipynb'))
    llms = (ROOT/'llms.txt').read_text(encoding='utf-8')
    for p in site_notebooks():
        if p.name in ('index.ipynb', 'contents.ipynb'): continue
        if f']({p.name})' not in text: yield f'contents.ipynb does not link to {p.name}'
        title, what = re.match(r'# (.*)\n+> (.*)', source(cells(p)[0])).groups()
        line = f'- [{title}](nbs/{p.name}): {what}'
        if line not in llms.splitlines(): yield f'llms.txt has no line {line}'

def titles()->Lines:
    "The first cell is a title and a description: the site shows nothing else of it."
    title = re.compile(r'# \S.*\n+> \S.*(\n+- [\w-]+: .*)*\s*')
    for p in site_notebooks():
        first = cells(p)[0]
        if first['cell_type']!='markdown' or not title.fullmatch(source(first)):
            yield f'{p.name}: the first cell must be "# title" and "> description" only'

def numbers()->Lines:
    "A link whose label is a number leads to a notebook of that number."
    numbered = re.compile(r'\[(\d+)\]\((\w+\.ipynb)')
    for p in site_notebooks():
        for label,target in numbered.findall('\n'.join(map(prose_of, cells(p)))):
            if not target.startswith(f'{label}_'): yield f'{p.name}: [{label}] leads to {target}'

# ---- the processed pages

def prose_of(cell:dict)->str:
    "Return the Markdown that a reader gets from a cell and its outputs."
    parts = [source(cell)] if cell['cell_type']=='markdown' else []
    parts += [''.join(d['text/markdown']) for d in data_of(cell) if 'text/markdown' in d]
    return '\n\n'.join(parts)

def prose(page:Path)->str:
    "Return the Markdown that a reader of the page gets, from cells and outputs."
    return '\n\n'.join(filter(None, map(prose_of, cells(page))))

def without_code(text:str)->str:
    return re.sub(r'`+[^`\n]*`+', '', FENCE.sub('', text))

def slug_of(title:str)->str:
    "Return the id that Pandoc gives to a heading, if no other has it."
    plain = re.sub(r'\]\([^)]*\)|[*$`\\]', '', title)
    slug = re.sub(r'\s', '-', re.sub(r'[^\w\s.-]', '', plain).lower())
    return re.sub(r'^[^a-z]*', '', slug) or 'section'

def anchors(text:str)->set[str]:
    "Return the ids of all headings."
    found, heading = [], re.compile(r'^#{1,6} +(.+?)(?: *\{#([\w.-]+)[^}]*\})? *$', re.M)
    for title,own in heading.findall(FENCE.sub('', text)):
        slug = slug_of(title)
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
    known = set(re.findall(r'^@\w+\{([\w-]+),', bibliography, flags=re.M))
    cited = set()
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
    "Check whether no documentation links to its source: nbdev's entry point is not installed."
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

COMMAND = re.compile(r'\$? *(torchrun|python|pip|make|git|sbatch|export|lowrank_|nbdev_)')

def shell(proc:Path)->Lines:
    "A block names its language, and commands are bash: so they wrap and are coloured."
    block = re.compile(r'^```(.*)\n((?:#.*\n)*.*)\n(?:.*\n)*?```', re.M)
    for p in pages_in(proc):
        for language,first in block.findall(prose(p)):
            command = COMMAND.match(first.split('\n')[-1])
            if not language: yield f'{p.name}: a block without a language: {first[:60]}'
            elif command and language.strip() not in ('bash', '.bash'):
                yield f'{p.name}: a command in a block of {language}: {first[:60]}'

def headings(proc:Path)->Lines:
    "No heading skips a level."
    for p in pages_in(proc):
        level = 1 # the title
        for marks,title in re.findall(r'^(#{1,6}) +(.*)', FENCE.sub('', prose(p)), re.M):
            if len(marks)>level+1: yield f'{p.name}: {marks} {title} comes after level {level}'
            level = len(marks)

def table_heads(proc:Path)->Lines:
    "Every column of a table has a heading."
    head = re.compile(r'^\|(.*)\| *\n\|(?:[ :]*-{3,}[ :]*\|)+ *$', re.M)
    for p in pages_in(proc):
        for line in head.findall(without_code(prose(p))):
            if not all(h.strip() for h in re.split(r'(?<!\\)\|', line)):
                yield f'{p.name}: a column without a heading: {line[:80]}'

def superscripts(proc:Path)->Lines:
    "Outside of code and formulas a ^ would end in a superscript."
    formula = re.compile(r'\$\$.*?\$\$|\$(?:[^$\n]|\n(?!\n))*\$', re.S)
    for p in pages_in(proc):
        text = formula.sub('', without_code(prose(p)))
        for m in re.finditer(r'\S*(?<!\\)\^\S*', text): yield f'{p.name}: ^ outside of code: {m[0]}'

def outside(proc:Path)->Lines:
    "A page loads nothing from another host; it may link there."
    loads = re.compile(r'<(?:script|link|img|iframe)[^>]*(?:https?:)?//[^>]*>'
                       r'|!\[[^]]*\]\(https?:[^)]*\)')
    for p in pages_in(proc):
        for m in loads.finditer(FENCE.sub('', prose(p))): yield f'{p.name}: loads {m[0][:80]}'

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

def flag_sections(page:Path)->Iterator[tuple[str,str,str,str]]:
    "Yield (section, its anchor, flag, meaning) for each flag on the page of commands."
    section = ''
    for line in FENCE.sub('', prose(page)).splitlines():
        if found := re.match(r'#{2,3} +(.*)', line): section = found[1]
        elif found := re.match(r'\| `(--\w+)` *\|', line):
            meaning = re.split(r'(?<!\\)\|', line)[2].strip()
            yield section, slug_of(section), found[1], re.sub(r'[`\\]', '', meaning)

def flags_of_package()->set[str]:
    "Return the flags of all commands, from the dataclasses that declare them."
    names = set()
    for file in (ROOT/'lowrank_nb').glob('*.py'):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if not isinstance(node, ast.AnnAssign) or not isinstance(node.value, ast.Call): continue
            made_by = getattr(node.value.func, 'id', '')
            positional = any(k.arg=='positional' for k in node.value.keywords)
            if made_by=='flag' and not positional: names.add('--'+node.target.id)
    return names

def search(proc:Path)->Lines:
    "The page of commands has every flag, in a section that a search result can lead to."
    page = proc/'80_commands.ipynb'
    rows, ids = [*flag_sections(page)], anchors(prose(page))
    for n in sorted(flags_of_package()-{row[2] for row in rows}):
        yield f'80_commands.ipynb: a search does not find {n}'
    for _,anchor,flag,_ in rows:
        if anchor not in ids: yield f'80_commands.ipynb: {flag}: no heading {anchor}'

def versions()->Lines:
    "settings.ini, the package, the citation and the changelog name the same version."
    ini = configparser.ConfigParser(delimiters=['='])
    ini.read(ROOT/'settings.ini', encoding='utf-8')
    version = ini['DEFAULT']['version']
    lines = {'lowrank_nb/__init__.py': f'__version__ = "{version}"',
             'CITATION.cff': f'version: {version}', 'CHANGELOG.md': f'## [{version}] - '}
    for file,line in lines.items():
        text = (ROOT/file).read_text(encoding='utf-8').splitlines()
        if not any(found.startswith(line) for found in text): yield f'{file}: no line {line}'

OF_NOTEBOOKS = (config, versions, alt_text, chatter, html_outputs, units, sidebar, index, titles,
                numbers)
OF_PAGES = (links, citations, dashes, api, fences, shell, headings, table_heads, superscripts,
            outside, stars, promises, search)

def main():
    wrong = [line for check in OF_NOTEBOOKS for line in check()]
    for proc in map(Path, sys.argv[1:2]):
        wrong += [line for check in OF_PAGES for line in check(proc)]
    if wrong: sys.exit('\n'.join(['the site:', *wrong]))

if __name__=='__main__': main()
