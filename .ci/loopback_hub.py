"""A hub of one's own on loopback, for tests of the real Hugging Face client without a network.

`python .ci/loopback_hub.py --data DIR --tokenizer DIR -- COMMAND...` serves DIR's c4-train.* and c4-validation.* files as
`allenai/c4` (config `en`) and the tokenizer folder as `t5-base`, sets HF_ENDPOINT and a fresh HF_HOME, runs COMMAND and exits with its code.
`--fault drop|stall|429|503 --every N --times M` lets requests for data files fail; of several faults each has its turn."""
import argparse, hashlib, json, os, subprocess, sys, tempfile, threading, time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from urllib.parse import unquote, urlsplit

SHA = hashlib.sha1(b'loopback').hexdigest()
CARD = b"""---
configs:
- config_name: en
  data_files:
  - split: train
    path: en/c4-train.*.json.gz
  - split: validation
    path: en/c4-validation.*.json.gz
---
"""

class Repo:
    "Files of one repository: path -> bytes or a local file."
    def __init__(self, kind, name, files): self.kind, self.name, self.files = kind, name, files
    def data(self, p): return self.files[p] if isinstance(self.files[p], bytes) else Path(self.files[p]).read_bytes()
    def size(self, p): return len(self.files[p]) if isinstance(self.files[p], bytes) else os.path.getsize(self.files[p])
    def etag(self, p): return hashlib.sha1(self.name.encode()+p.encode()+str(self.size(p)).encode()).hexdigest()
    def entry(self, p): return dict(type='file', path=p, size=self.size(p), oid=self.etag(p))
    def info(self): return dict(_id=SHA, id=self.name, sha=SHA, private=False, gated=False, disabled=False, downloads=0, likes=0, tags=[], siblings=[dict(rfilename=p) for p in self.files])
    def tree(self, folder):
        pre, out, dirs = folder.strip('/')+'/' if folder.strip('/') else '', [], set()
        for p in self.files:
            if not p.startswith(pre): continue
            rest = p[len(pre):]
            if '/' in rest: dirs.add(pre+rest.split('/')[0])
            else: out.append(self.entry(p))
        return out + [dict(type='directory', path=d, size=0, oid=SHA) for d in sorted(dirs)]

def repos(data, tokenizer):
    c4 = {'README.md': CARD, **{f'en/{p.name}': p for p in sorted(Path(data).glob('c4-*.json.gz'))}}
    return [Repo('datasets', 'allenai/c4', c4), Repo('models', 't5-base', {p.name: p for p in sorted(Path(tokenizer).iterdir()) if p.is_file()})]

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    repos, fault = [], None            # `fault(handler)`: returns True if it has answered (or broken) the request itself

    def log_message(self, *args): pass
    def do_HEAD(self): self.answer()
    def do_GET(self): self.answer()
    def do_POST(self):
        self.body = self.rfile.read(int(self.headers.get('Content-Length', 0))); self.answer()

    def send(self, body, code=200, **headers):
        if not isinstance(body, bytes): body = json.dumps(body).encode(); headers.setdefault('Content-Type', 'application/json')
        self.send_response(code)
        for k,v in dict({'Content-Length': len(body), 'X-Repo-Commit': SHA}, **{k.replace('_','-'): v for k,v in headers.items()}).items(): self.send_header(k, str(v))
        self.end_headers()
        if self.command!='HEAD': self.wfile.write(body)

    def answer(self):
        if type(self).fault and type(self).fault(self): return
        path = unquote(urlsplit(self.path).path).strip('/')
        for r in self.repos:
            if f'{path}/'.startswith(f'api/{r.kind}/{r.name}/'): return self.api(r, path.removeprefix(f'api/{r.kind}/{r.name}').strip('/'))
            web = ('' if r.kind=='models' else r.kind+'/')+r.name+'/resolve/'
            if path.startswith(web): return self.file(r, path.removeprefix(web).partition('/')[2])
        self.send(dict(error='not found'), 404, X_Error_Code='RepoNotFound')

    def api(self, r, rest):
        what, _, tail = rest.partition('/')
        if what in ('','revision'): return self.send(r.info())
        if what=='tree': return self.send(r.tree(tail.partition('/')[2]))
        if what=='paths-info':
            from urllib.parse import parse_qs
            ctype = self.headers.get('Content-Type','')
            paths = json.loads(self.body)['paths'] if 'json' in ctype else parse_qs(self.body.decode()).get('paths', [])
            known = [r.entry(p) for p in paths if p in r.files]
            dirs = [dict(type='directory', path=p, size=0, oid=SHA) for p in paths if p not in r.files and any(f.startswith(p.strip('/')+'/') for f in r.files)]
            return self.send(known+dirs)
        self.send(dict(error='not found'), 404, X_Error_Code='EntryNotFound')

    def file(self, r, p):
        if p not in r.files: return self.send(b'', 404, X_Error_Code='EntryNotFound')
        data, size, span = r.data(p), r.size(p), self.headers.get('Range')
        head = dict(ETag=f'"{r.etag(p)}"', Accept_Ranges='bytes')
        if span is None: return self.send(data, **head)
        a,_,b = span.removeprefix('bytes=').partition('-')
        a,b = int(a), min(int(b) if b else size-1, size-1)
        self.send(data[a:b+1], 206, Content_Range=f'bytes {a}-{b}/{size}', **head)

class Fault:
    """What goes wrong with the bodies of data files: of every `every`-th request for one after the first `after`, up to `times` in all.
    `drop`: half a body, then the connection closes; `stall`: half a body, then silence; `429` (with Retry-After) and `503`: no body."""
    kinds = 'drop', 'stall', '429', '503'
    def __init__(self, *turns, every=2, times=3, seconds=30, after=0):
        if odd := {*turns}-{*self.kinds}: raise ValueError(f'fault {odd}: pass some of {", ".join(self.kinds)}')
        self.turns, self.every, self.left, self.seconds, self.seen, self.lock = cycle(turns), every, times, seconds, -after, threading.Lock()

    def __call__(self, h):
        if h.command!='GET' or '/resolve/' not in h.path or not h.path.split('?')[0].endswith('.gz'): return False
        with self.lock:
            self.seen += 1
            if self.left<=0 or self.seen<=0 or self.seen%self.every: return False
            self.left -= 1; kind = next(self.turns)
        print(f'loopback hub: {kind}', file=sys.stderr, flush=True)
        if kind in ('429','503'):
            h.send(b'busy', int(kind), **(dict(Retry_After=1) if kind=='429' else {})); return True
        whole = h.send
        def half(body, code=200, **headers):
            h.send_response(code); h.close_connection = True
            for k,v in {'Content-Length': len(body), 'X-Repo-Commit': SHA, **{k.replace('_','-'): v for k,v in headers.items()}}.items(): h.send_header(k, str(v))
            h.end_headers(); h.wfile.write(body[:len(body)//2]); h.wfile.flush()
            if kind=='stall': time.sleep(self.seconds)
        h.send = half
        try:
            path = unquote(urlsplit(h.path).path).strip('/')
            r = next(r for r in h.repos if path.startswith(f'{r.kind}/{r.name}/resolve/'))
            h.file(r, path.removeprefix(f'{r.kind}/{r.name}/resolve/').partition('/')[2])
        finally: h.send = whole
        return True

@contextmanager
def serve(data, tokenizer, port=0, fault=None):
    "Serve on loopback; yields the address."
    handler = type('Handler', (Handler,), dict(repos=repos(data, tokenizer), fault=staticmethod(fault) if fault else None))
    server = ThreadingHTTPServer(('127.0.0.1', port), handler); server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try: yield f'http://127.0.0.1:{server.server_address[1]}'
    finally: server.shutdown(); server.server_close()

def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--data', required=True); p.add_argument('--tokenizer', required=True); p.add_argument('--port', type=int, default=0)
    p.add_argument('--fault', nargs='+', choices=Fault.kinds, help='what goes wrong with data files, in turn'); p.add_argument('--every', type=int, default=2, help='of so many requests one fails'); p.add_argument('--times', type=int, default=3, help='so often')
    p.add_argument('--after', type=int, default=0, help='after so many good ones'); p.add_argument('--stall', type=float, default=30, help='seconds of silence of a stall')
    p.add_argument('command', nargs=argparse.REMAINDER)
    a = p.parse_args(); cmd = a.command[1:] if a.command[:1]==['--'] else a.command
    with serve(a.data, a.tokenizer, a.port, Fault(*a.fault, every=a.every, times=a.times, seconds=a.stall, after=a.after) if a.fault else None) as url, tempfile.TemporaryDirectory() as home:
        env = {k:v for k,v in os.environ.items() if k.lower() not in ('http_proxy','https_proxy','all_proxy')}
        return subprocess.run(cmd, env=dict(env, HF_ENDPOINT=url, HF_HOME=home, HF_HUB_DISABLE_XET='1')).returncode

if __name__=='__main__': sys.exit(main())
