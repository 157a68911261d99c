"""Make README.md from nbs/index.ipynb, for GitHub.

    readme.py           write README.md and the figure that it shows
    readme.py --check   compare them"""
import base64
import json
import re
import sys

from common import ROOT

def linked(text:str)->str:
    "Point links between notebooks into `nbs/`."
    return re.sub(r'\]\((\w+\.ipynb)\)', r'](nbs/\1)', text)

def displayed(cell:dict)->tuple[list[str],bytes|None]:
    "Return what a code cell displays: Markdown and the figure with its alt text."
    parts, figure = [], None
    for data in (output.get('data', {}) for output in cell['outputs']):
        if 'text/markdown' in data:
            parts.append(linked(''.join(data['text/markdown'])))
        if 'image/png' in data:
            figure = base64.b64decode(data['image/png'])
            alt = re.search('fig-alt: "(.*)"', ''.join(cell['source']))[1]
            parts.append(f'![{alt}](nbs/images/learning.png)')
    return parts, figure

def readme()->tuple[str,bytes|None]:
    "Return the text of README.md and the bytes of its figure."
    parts, figure = [], None
    for cell in json.loads((ROOT/'nbs'/'index.ipynb').read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        if cell['cell_type']=='markdown':
            parts.append(linked(source))
        elif '#| hide' not in source:
            if '#| echo: false' not in source: parts.append(f'```python\n{source}\n```')
            shown, drawn = displayed(cell)
            parts += shown
            figure = drawn or figure
    return '\n\n'.join(parts)+'\n', figure

def main():
    text, figure = readme()
    file = ROOT/'README.md'
    picture = ROOT/'nbs'/'images'/'learning.png'
    if '--check' not in sys.argv:
        file.write_text(text, encoding='utf-8')
        if figure: picture.write_bytes(figure)
    elif file.read_text(encoding='utf-8')!=text or figure and picture.read_bytes()!=figure:
        sys.exit('README.md differs from nbs/index.ipynb; run python .ci/readme.py')

if __name__=='__main__': main()
