"""Test one notebook as `nbdev_test` does and compare its outputs with the stored ones.

    notebook.py NOTEBOOK [--exact] [--times FILE]

Ends with 1 if a cell fails, or shows other text than is stored (numbers count with --exact only).
A notebook that reads `../shared` is run but not compared on a machine without that folder."""
import argparse
import json
import sys
import time
from pathlib import Path

import pandas
from execnb.shell import CaptureShell
from nbdev.test import nbdev_test

from common import SHARED
from outputs import difference

run_cell = CaptureShell.cell

def first_line(source:str)->str:
    "Return the first line of a cell that is not a directive."
    lines = [s for s in source.splitlines() if s.strip() and not s.startswith('#|')]
    return lines[0][:90] if lines else ''

class Watch:
    "Run each cell, measure its time and keep what differs from the stored outputs."
    def __init__(self, path:Path, exact:bool, compare:bool):
        self.path, self.exact, self.compare = path, exact, compare
        self.differences, self.times = [], []

    def cell(self, shell, cell, *args, **kwargs):
        if cell.cell_type!='code':
            return run_cell(shell, cell, *args, **kwargs)
        stored = cell.outputs
        cell.outputs = []
        start = time.perf_counter()
        try:
            return run_cell(shell, cell, *args, **kwargs)
        finally:
            seconds = round(time.perf_counter()-start, 2)
            self.times.append([seconds, self.path.name, first_line(cell.source)])
            if self.compare and not shell.exc:
                self.look(cell, stored)

    def look(self, cell, stored):
        found = difference(self.path.name, cell.id, stored, cell.outputs, self.exact)
        if found:
            self.differences.append(f'  {cell.id}: {first_line(cell.source)}\n    {found}')

def test(path:Path, exact:bool=False, times:Path|None=None)->None:
    "Test a notebook; exit with an error if a cell fails or differs. Append seconds to `times`."
    blind = '/shared' in path.read_text(encoding='utf-8') and not SHARED.is_dir()
    watch = Watch(path, exact, compare=not blind)
    CaptureShell.cell = lambda shell, cell, *a, **kw: watch.cell(shell, cell, *a, **kw)
    pandas.set_option('display.max_columns', 20)  # as in Jupyter; a terminal would show fewer
    nbdev_test.__wrapped__(path=path, n_workers=0, do_print=True)
    if times:
        with times.open('a') as f:
            f.writelines(json.dumps(row)+'\n' for row in watch.times)
    if watch.differences:
        head = f'{path.name}: {len(watch.differences)} cells differ from their stored outputs'
        sys.exit('\n'.join([head, *watch.differences]))

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('notebook', type=Path)
    parser.add_argument('--exact', action='store_true')
    parser.add_argument('--times', type=Path)
    args = parser.parse_args()
    test(args.notebook.resolve(), args.exact, args.times)

if __name__=='__main__': main()
