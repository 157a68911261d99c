"`nbdev_test` on one notebook, in this process; writes the seconds of each cell as JSON lines.  timed.py NOTEBOOK OUT"
import json, sys, time

def main(notebook:str, out:str):
    from execnb.shell import CaptureShell
    from nbdev.test import nbdev_test
    plain = CaptureShell.cell
    def timed(self, cell, *args, **kwargs):
        start = time.perf_counter()
        try: return plain(self, cell, *args, **kwargs)
        finally:
            if cell.cell_type=='code':
                first = next((l for l in cell.source.splitlines() if l.strip() and not l.startswith('#|')), '')
                with open(out, 'a') as f: f.write(json.dumps([round(time.perf_counter()-start, 2), notebook.rsplit('/',1)[-1], first[:90]])+'\n')
    CaptureShell.cell = timed
    nbdev_test.__wrapped__(path=notebook, n_workers=0, do_print=True)

if __name__=='__main__': main(*sys.argv[1:])
