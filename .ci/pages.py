"""Checks of the site that need no Quarto: links and anchors, alt text, sidebar, titles, citations, API.  pages.py [PROC]

Each function returns what is wrong, a line each. PROC is the folder that nbdev_proc_nbs writes; without it only the notebooks themselves are checked."""
import ast, configparser, json, re, sys
from pathlib import Path
import yaml
from outputs import chatter

root = Path(__file__).resolve().parent.parent
nbs = root/'nbs'

def cells(p:Path)->list[dict]: return json.loads(p.read_text(encoding='utf-8'))['cells']
def source(c:dict)->str: return ''.join(c['source'])
def notebooks()->list[Path]: return sorted(nbs.glob('*.ipynb'))
def figures(c:dict)->int: return sum(k.startswith('image/') for o in c.get('outputs', []) for k in o.get('data', {}))

# ---- the notebooks

def alt_text()->list[str]:
    "Every cell that stores a figure says in words what it shows, and not in its title's words alone."
    bad = []
    for p in notebooks():
        for c in cells(p):
            if c['cell_type']!='code' or not figures(c): continue
            alt = re.match(r'(?:#\|.*\n)*?#\| fig-alt: "([^"\n]{40,})"\n', source(c))
            if not alt: bad.append(f"{p.name} {c['id']}: a figure without #| fig-alt of 40 characters or more, on a line of its own at the top")
    return bad

def quiet()->list[str]:
    "No stored output is a library's aside or a progress bar."
    return [f"{p.name} {c['id']}: stores stderr or a progress bar; python .ci/outputs.py --strip removes it" for p in notebooks() for c in cells(p) if any(map(chatter, c.get('outputs', [])))]

def entries(x)->list[str]: # the pages of a sidebar, in order
    if isinstance(x, str): return [x]
    return [p for o in x for p in (entries(o['contents']) if isinstance(o, dict) else [o])]

def sidebar()->list[str]:
    "Every notebook is in the sidebar once, and every page of sidebar and navbar exists."
    quarto, side = (yaml.safe_load(f.read_text(encoding='utf-8')) for f in (root/'_quarto.yml', nbs/'sidebar.yml'))
    listed = entries(side['website']['sidebar']['contents']); there = {p.name for p in notebooks()}
    nav = [o['href'] for o in quarto['website']['navbar']['left']]
    return [*(f'sidebar.yml: {n} is listed twice' for n in sorted({n for n in listed if listed.count(n)>1})), *(f'{n} is not in sidebar.yml' for n in sorted(there-{*listed})),
            *(f'sidebar.yml: {n} does not exist' for n in listed if n not in there), *(f'_quarto.yml: {n} does not exist' for n in nav if n not in there)]

def index()->list[str]:
    "The index names every notebook, so does llms.txt; README.md is checked against the index elsewhere."
    text = '\n'.join(source(c) for c in cells(nbs/'index.ipynb')); llms = (root/'llms.txt').read_text(encoding='utf-8')
    return [*(f'index.ipynb does not link to {p.name}' for p in notebooks() if p.name!='index.ipynb' and f']({p.name})' not in text),
            *(f'llms.txt does not name nbs/{p.name}' for p in notebooks() if p.name!='index.ipynb' and f'(nbs/{p.name})' not in llms)]

def titles()->list[str]:
    "The first cell of every notebook is a title and a description, which is all of it that a page shows."
    bad = []
    for p in notebooks():
        first = cells(p)[0]
        if first['cell_type']!='markdown' or not re.fullmatch(r'# \S.*\n+> \S.*(\n+- [\w-]+: .*)*\s*', source(first)): bad.append(f'{p.name}: the first cell must be "# title", "> description" and nothing else')
    return bad

# ---- the processed pages

def prose(p:Path)->str:
    "Markdown of a page as a reader gets it, cells and outputs."
    return '\n\n'.join(t for c in cells(p) for t in ([source(c)] if c['cell_type']=='markdown' else [''.join(o['data']['text/markdown']) for o in c.get('outputs', []) if 'text/markdown' in o.get('data', {})]))

def plain(text:str)->str: # without code, where brackets mean other things
    return re.sub(r'`+[^`\n]*`+', '', re.sub(r'^ *```.*?^ *```', '', text, flags=re.M|re.S))

def anchors(text:str)->set[str]: # the ids that Pandoc gives to headings
    out = []
    for h,own in re.findall(r'^#{1,6} +(.+?)(?: *\{#([\w.-]+)[^}]*\})? *$', re.sub(r'^ *```.*?^ *```', '', text, flags=re.M|re.S), flags=re.M):
        a = re.sub(r'^[^a-z]*', '', re.sub(r'\s', '-', re.sub(r'[^\w\s.-]', '', re.sub(r'\]\([^)]*\)|[*$`\\]', '', h)).lower())) or 'section'
        out.append(own or a + (f'-{n}' if (n := sum(re.fullmatch(re.escape(a)+r'(-\d+)?', o) is not None for o in out)) else ''))
    return {*out}

def front_matter(p:Path)->dict:
    c = cells(p)[0]; return yaml.safe_load(source(c).strip().strip('-')) if c['cell_type']=='raw' else {}

def links(proc:Path)->list[str]:
    "Every link that stays inside the site leads to a page, a file, a heading that is there. So do the links to the site's own address."
    ini = configparser.ConfigParser(delimiters=['=']); ini.read(root/'settings.ini', encoding='utf-8'); cfg = ini['DEFAULT']
    pages = {p.name: p for p in proc.glob('*.ipynb')}; ids = {n: anchors(prose(p)) for n,p in pages.items()}
    html = {front_matter(p).get('output-file'): n for n,p in pages.items()}; home = cfg['doc_host']+cfg['doc_baseurl']+'/'
    bad = []
    for n,p in pages.items():
        text = plain(prose(p))
        for link in re.findall(r'\]\(([^)\s]+)\)', text) + re.findall(r'(?:href|src)="([^"]+)"', text):
            own = link.startswith(home); target = link.removeprefix(home) if own else link
            if not own and re.match(r'[a-z]+:', link): continue
            file,_,anchor = target.partition('#'); page = (html.get(file) if own else file) or (n if not file else None)
            if page is None or not (page in pages or (proc/page).is_file()): bad.append(f'{n}: {link} leads nowhere')
            elif anchor and page in pages and anchor.lower() not in ids[page]: bad.append(f'{n}: {link} names no heading of {page}')
    return bad

def citations(proc:Path)->list[str]:
    "Every [@key] is in references.bib, and every entry there is cited."
    known = {*re.findall(r'^@\w+\{([\w-]+),', (proc/'references.bib').read_text(encoding='utf-8'), flags=re.M)}
    cited = {n: {*re.findall(r'(?<![\w.])@([a-z][\w-]*)', ' '.join(re.findall(r'\[[^\]]*@[^\]]*\]', plain(prose(p)))))} for n,p in ((p.name,p) for p in proc.glob('*.ipynb'))}
    return [*(f'{n}: @{k} is not in references.bib' for n,ks in cited.items() for k in sorted(ks-known)), *(f'references.bib: nothing cites {k}' for k in sorted(known-set().union(*cited.values())))]

def dashes(proc:Path)->list[str]:
    "A flag outside of code loses one of its dashes, and <this> is taken for a tag."
    bad = []
    for p in sorted(proc.glob('*.ipynb')):
        text = re.sub(r'\$\$.*?\$\$|\$[^$\n]*\$', '', plain(prose(p)), flags=re.S)
        bad += [f'{p.name}: {m[1]} outside of code' for m in re.finditer(r'(?<![\w-])(--[a-z]\w+)', text)] + [f'{p.name}: {m[0]} is taken for a tag' for m in re.finditer(r'(?<!\\)<(?!/?(?:a|b|br|code|details|summary|div|span|img|sub|sup|em)\b|!--|https?:)[a-z]\w*>', text)]
    return bad

def api(proc:Path)->list[str]:
    "Every public function and class has its signature and documentation on the page of its module."
    bad = []
    for f in sorted((root/'lowrank_nb').glob('*.py')):
        text = f.read_text(encoding='utf-8'); nb = re.search(r'File to edit: \.\./nbs/(\S+\.ipynb)', text)
        if not nb: continue
        shown = {m for c in cells(proc/nb[1]) if c['cell_type']=='code' and any('text/markdown' in o.get('data', {}) for o in c['outputs']) for m in (x.rpartition('.')[2] for x in re.findall(r'^show_doc\(([\w.]+)', source(c), flags=re.M))}
        if any('show_doc' in source(c) and '[source](' not in ''.join(''.join(o.get('data', {}).get('text/markdown', '')) for o in c['outputs']) for c in cells(proc/nb[1]) if c['cell_type']=='code'):
            bad.append(f'{nb[1]}: documentation without links to its source; the package must be installed (its entry point nbdev), pip install -e .')
        public = {o.name for o in ast.parse(text).body if isinstance(o, (ast.FunctionDef,ast.ClassDef)) and not o.name.startswith('_')}
        bad += [f'{nb[1]}: {n} has no documentation on the page' for n in sorted(public-shown)]
    return bad

def fences(proc:Path)->list[str]:
    "No link stands in a block of code, which would show it as it is typed. nbdev links the package's names in the comments of a signature too: no backticks there."
    return [f'{p.name}: a link in code: {m[0]}' for p in sorted(proc.glob('*.ipynb')) for block in re.findall(r'^```.*?^```', prose(p), flags=re.M|re.S) for m in re.finditer(r'\[`[^`]+`\]\(', block)]

def stars(proc:Path)->list[str]:
    "Documentation is shown in italics: a * in it, outside of code, would end them."
    said = lambda p: [l for l in prose(p).splitlines() if re.fullmatch(r'\*[^*\s].*\*', l)]
    return [f'{p.name}: a * outside of code: {l[:80]}' for p in sorted(proc.glob('*.ipynb')) for l in said(p) if '*' in re.sub(r'`[^`]*`', '', l[1:-1])]

def promises(proc:Path)->list[str]:
    "What ends with a colon is followed by something on the page: code of private names is left out of it unless its cell says `exports`."
    bad = []
    for p in sorted(proc.glob('*.ipynb')):
        cs = cells(p)
        for i,c in enumerate(cs):
            if c['cell_type']!='markdown' or not source(c).rstrip().endswith(':'): continue
            after = cs[i+1:next((j for j in range(i+1, len(cs)) if cs[j]['cell_type']=='markdown'), len(cs))]
            if not any(source(o).strip() or o.get('outputs') for o in after): bad.append(f'{p.name}: nothing follows: ...{source(c).rstrip()[-60:]}')
    return bad

def check(proc:Path|None=None):
    "Raise with every line that is wrong."
    bad = [l for f in (alt_text, quiet, sidebar, index, titles) for l in f()] + [l for f in (links, citations, dashes, api, fences, stars, promises) if proc for l in f(Path(proc))]
    if bad: raise AssertionError('\n'.join(['the site:', *bad]))

if __name__=='__main__':
    try: check(*map(Path, sys.argv[1:2]))
    except AssertionError as e: sys.exit(str(e))
