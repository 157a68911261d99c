"""`nbdev_test` on one notebook, in this process, and its outputs held against the stored ones.  timed.py NOTEBOOK OUT [--exact]

Writes the seconds of each cell to OUT as JSON lines; ends with 1 where a cell fails, or says another thing than the notebook stores (numbers count with --exact only).
A notebook that reads the data beside the checkout (`../../shared`) is run and not compared where they are not there."""
import json, sys, time
from pathlib import Path
from outputs import difference

def main(notebook:str, out:str, exact:str=''):
    from execnb.shell import CaptureShell
    from nbdev.test import nbdev_test
    plain, name, differ = CaptureShell.cell, notebook.rsplit('/',1)[-1], []
    p = Path(notebook).resolve(); blind = '../../shared' in p.read_text(encoding='utf-8') and not (p.parents[2]/'shared').is_dir()
    def timed(self, cell, *args, **kwargs):
        if cell.cell_type!='code': return plain(self, cell, *args, **kwargs)
        stored, cell.outputs, start = cell.outputs, [], time.perf_counter()
        first = next((l for l in cell.source.splitlines() if l.strip() and not l.startswith('#|')), '')
        try: return plain(self, cell, *args, **kwargs)
        finally:
            with open(out, 'a') as f: f.write(json.dumps([round(time.perf_counter()-start, 2), name, first[:90]])+'\n')
            if not self.exc and not blind and (d := difference(name, cell.id, stored, cell.outputs, bool(exact))): differ.append(f'  {cell.id}: {first[:90]}\n    {d}')
    CaptureShell.cell = timed
    try: import pandas; pandas.set_option('display.max_columns', 20)     # as under Jupyter: here it would fit tables to a terminal
    except ImportError: pass
    nbdev_test.__wrapped__(path=notebook, n_workers=0, do_print=True)
    if differ: sys.exit('\n'.join([f'{name}: {len(differ)} cells no longer say what is stored; execute it again, or see .ci/outputs.py', *differ]))

if __name__=='__main__': main(*sys.argv[1:])
