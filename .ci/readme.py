"""README.md from nbs/index.ipynb, for GitHub: `python .ci/readme.py` writes it, `--check` compares. (Quarto makes the site's page from the same notebook.)"""
import base64, json, re, sys
from pathlib import Path

root = Path(__file__).resolve().parent.parent

def markdown(s:str)->str: return re.sub(r'\]\((\w+\.ipynb)\)', r'](nbs/\1)', s)

def readme()->tuple[str,bytes|None]: # the text, and the figure it shows
    "Markdown cells, code that is shown, and what code displays: text, and the figure with its alt text; links lead into nbs/."
    out, figure = [], None
    for c in json.loads((root/'nbs'/'index.ipynb').read_text(encoding='utf-8'))['cells']:
        src = ''.join(c['source'])
        if c['cell_type']=='markdown': out.append(markdown(src))
        elif '#| hide' not in src:
            if '#| echo: false' not in src: out.append(f'```python\n{src}\n```')
            for d in (o.get('data', {}) for o in c['outputs']):
                if 'text/markdown' in d: out.append(markdown(''.join(d['text/markdown'])))
                if 'image/png' in d: figure = base64.b64decode(d['image/png']); out.append('![{}](nbs/images/learning.png)'.format(re.search('fig-alt: "(.*)"', src)[1]))
    return '\n\n'.join(out)+'\n', figure

if __name__=='__main__':
    text, figure = readme(); md, png = root/'README.md', root/'nbs'/'images'/'learning.png'
    if '--check' in sys.argv:
        if md.read_text(encoding='utf-8')!=text or png.read_bytes()!=figure: sys.exit('README.md differs from nbs/index.ipynb; run python .ci/readme.py')
    else: md.write_text(text, encoding='utf-8'); png.parent.mkdir(exist_ok=True); png.write_bytes(figure)
