"""Finish a site that Quarto built: flags are found first, and nothing comes from other hosts.

    site.py SITE PROC    SITE is the folder of the built site, PROC that of nbdev_proc_nbs"""
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pages import flag_sections, front_matter

def flag_entries(page:Path)->Iterator[dict]:
    """Yield an entry of the search index for each flag on the page of commands. Its section is the
    flag alone. The search ranks short fields first, so it comes before every page that uses it."""
    file = front_matter(page)['output-file']
    for section,anchor,flag,meaning in flag_sections(page):
        href = f'{file}#{anchor}'
        yield dict(objectID=f'{href}-{flag}', href=href, title='Commands', section=flag,
                   text=f'{section}: {meaning}')

def outside(site:Path)->Iterator[str]:
    "Yield what the built pages and style sheets load from other hosts."
    host = r'(?:https?:)?//[\w.-]+'
    loads = re.compile(rf'<(?:script|img|iframe)[^>]*\ssrc="{host}[^>]*>'
                       rf'|<link[^>]*rel="(?:stylesheet|icon|preload)"[^>]*href="{host}[^>]*>'
                       rf'|@import\s*(?:url\()?["\']?{host}[^;]*|url\(["\']?{host}[^)]*\)')
    for file in sorted([*site.rglob('*.html'), *site.rglob('*.css')]):
        for m in loads.finditer(file.read_text(encoding='utf-8')):
            yield f'{file.relative_to(site)}: {m[0][:100]}'

def main():
    site, proc = map(Path, sys.argv[1:3])
    file = site/'search.json'
    found = [e for e in json.loads(file.read_text(encoding='utf-8')) if e['section'][:2]!='--']
    found += flag_entries(proc/'80_commands.ipynb')
    file.write_text(json.dumps(found, ensure_ascii=False, indent=2), encoding='utf-8')
    if loaded := sorted({*outside(site)}):
        sys.exit('\n'.join(['from other hosts:', *loaded]))

if __name__=='__main__': main()
