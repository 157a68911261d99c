"""Serve a small hub on loopback, for tests of the real Hugging Face client without a network.

    loopback_hub.py --data DIR --tokenizer DIR [--fault drop ...] -- COMMAND ...

Serves DIR's c4-train.* and c4-validation.* files as `allenai/c4` (config `en`) and the tokenizer
folder as `t5-base`, sets HF_ENDPOINT and a fresh HF_HOME, runs COMMAND, exits with its code."""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import cycle
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

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
    "Hold the files of one repository: path -> bytes or a local file."
    def __init__(self, kind, name, files):
        self.kind, self.name, self.files = kind, name, files

    def data(self, path):
        content = self.files[path]
        return content if isinstance(content, bytes) else Path(content).read_bytes()

    def size(self, path):
        content = self.files[path]
        return len(content) if isinstance(content, bytes) else os.path.getsize(content)

    def etag(self, path):
        return hashlib.sha1(f'{self.name}{path}{self.size(path)}'.encode()).hexdigest()

    def entry(self, path):
        return dict(type='file', path=path, size=self.size(path), oid=self.etag(path))

    def info(self):
        return dict(
            _id=SHA, id=self.name, sha=SHA, private=False, gated=False, disabled=False,
            downloads=0, likes=0, tags=[], siblings=[dict(rfilename=p) for p in self.files])

    def tree(self, folder):
        "List a folder: its files, then its folders."
        prefix = folder.strip('/')+'/' if folder.strip('/') else ''
        inside = [p for p in self.files if p.startswith(prefix)]
        files = [self.entry(p) for p in inside if '/' not in p[len(prefix):]]
        names = {p[len(prefix):].split('/')[0] for p in inside if '/' in p[len(prefix):]}
        return files + [folder_entry(prefix+n) for n in sorted(names)]

    def paths_info(self, paths):
        "Describe the paths that exist, files or folders."
        known = [self.entry(p) for p in paths if p in self.files]
        def is_folder(p):
            return any(f.startswith(p.strip('/')+'/') for f in self.files)
        return known + [folder_entry(p) for p in paths if p not in self.files and is_folder(p)]

def folder_entry(path):
    return dict(type='directory', path=path, size=0, oid=SHA)

def repos(data, tokenizer):
    shards = {f'en/{p.name}': p for p in sorted(Path(data).glob('c4-*.json.gz'))}
    files = {p.name: p for p in sorted(Path(tokenizer).iterdir()) if p.is_file()}
    c4 = Repo('datasets', 'allenai/c4', {'README.md': CARD, **shards})
    return [c4, Repo('models', 't5-base', files)]

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    repos = []
    fault = None  # fault(handler) returns True if it has answered (or broken) the request itself

    def log_message(self, *args): pass
    def do_HEAD(self): self.answer()
    def do_GET(self): self.answer()
    def do_POST(self):
        self.body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.answer()

    def start(self, size, code=200, **headers):
        "Send the status line and the headers."
        self.send_response(code)
        fields = {'Content-Length': size, 'X-Repo-Commit': SHA}
        fields |= {k.replace('_', '-'): v for k,v in headers.items()}
        for k,v in fields.items():
            self.send_header(k, str(v))
        self.end_headers()

    def send(self, body, code=200, **headers):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault('Content-Type', 'application/json')
        self.start(len(body), code, **headers)
        if self.command!='HEAD':
            self.wfile.write(body)

    def repo_and_file(self):
        "Return the repository and the path of a request for a file, else two None."
        path = unquote(urlsplit(self.path).path).strip('/')
        for repo in self.repos:
            kind = '' if repo.kind=='models' else repo.kind+'/'
            start = f'{kind}{repo.name}/resolve/'
            if path.startswith(start):
                return repo, path.removeprefix(start).partition('/')[2]
        return None, None

    def answer(self):
        if type(self).fault and type(self).fault(self):
            return
        path = unquote(urlsplit(self.path).path).strip('/')
        for repo in self.repos:
            start = f'api/{repo.kind}/{repo.name}'
            if f'{path}/'.startswith(start+'/'):
                return self.api(repo, path.removeprefix(start).strip('/'))
        repo, file = self.repo_and_file()
        if repo: return self.file(repo, file)
        return self.send(dict(error='not found'), 404, X_Error_Code='RepoNotFound')

    def api(self, repo, rest):
        what, _, tail = rest.partition('/')
        if what in ('', 'revision'):
            return self.send(repo.info())
        if what=='tree':
            return self.send(repo.tree(tail.partition('/')[2]))
        if what=='paths-info':
            return self.send(repo.paths_info(self.asked_paths()))
        return self.send(dict(error='not found'), 404, X_Error_Code='EntryNotFound')

    def asked_paths(self):
        if 'json' in self.headers.get('Content-Type', ''):
            return json.loads(self.body)['paths']
        return parse_qs(self.body.decode()).get('paths', [])

    def file(self, repo, path):
        if path not in repo.files:
            return self.send(b'', 404, X_Error_Code='EntryNotFound')
        data = repo.data(path)
        size = repo.size(path)
        span = self.headers.get('Range')
        head = dict(ETag=f'"{repo.etag(path)}"', Accept_Ranges='bytes')
        if span is None:
            return self.send(data, **head)
        first,_,last = span.removeprefix('bytes=').partition('-')
        first, last = int(first), min(int(last) if last else size-1, size-1)
        content_range = f'bytes {first}-{last}/{size}'
        return self.send(data[first:last+1], 206, Content_Range=content_range, **head)

class Fault:
    """What happens to the bodies of data files: after the first `after` requests for one, every
    `every`-th fails, up to `times` in all. `drop`: half a body, then the connection closes;
    `stall`: half a body, then silence; `429` (with Retry-After) and `503`: no body."""
    kinds = 'drop', 'stall', '429', '503'
    def __init__(self, *turns, every=2, times=3, seconds=30, after=0):
        self.turns = cycle(turns)
        self.every = every
        self.left = times
        self.seconds = seconds
        self.seen, self.lock = -after, threading.Lock()

    def next_kind(self):
        "Return the fault of this request, or None."
        with self.lock:
            self.seen += 1
            if self.left<=0 or self.seen<=0 or self.seen%self.every:
                return None
            self.left -= 1
            return next(self.turns)

    def __call__(self, handler):
        path = handler.path.split('?')[0]
        if handler.command!='GET' or '/resolve/' not in path or not path.endswith('.gz'):
            return False
        kind = self.next_kind()
        if kind is None: return False
        print(f'loopback hub: {kind}', file=sys.stderr, flush=True)
        if kind=='429':
            handler.send(b'busy', 429, Retry_After=1)
        elif kind=='503':
            handler.send(b'busy', 503)
        else: self.half(handler, kind)
        return True

    def half(self, handler, kind):
        "Send the headers of the whole answer and half of its body."
        whole = handler.send
        def send(body, code=200, **headers):
            handler.close_connection = True
            handler.start(len(body), code, **headers)
            handler.wfile.write(body[:len(body)//2])
            handler.wfile.flush()
            if kind=='stall':
                time.sleep(self.seconds)
        handler.send = send
        try:
            handler.file(*handler.repo_and_file())
        finally: handler.send = whole

@contextmanager
def serve(data, tokenizer, port=0, fault=None):
    "Serve on loopback; yields the address."
    attributes = dict(repos=repos(data, tokenizer), fault=staticmethod(fault) if fault else None)
    server = ThreadingHTTPServer(('127.0.0.1', port), type('Handler', (Handler,), attributes))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f'http://127.0.0.1:{server.server_address[1]}'
    finally:
        server.shutdown()
        server.server_close()

def parse():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument('--data', required=True)
    p.add_argument('--tokenizer', required=True)
    p.add_argument('--port', type=int, default=0)
    p.add_argument('--fault', nargs='+', choices=Fault.kinds, help='faults of data files, in turn')
    p.add_argument('--every', type=int, default=2, help='one request in this many fails')
    p.add_argument('--times', type=int, default=3, help='faults in all')
    p.add_argument('--after', type=int, default=0, help='requests before the first fault')
    p.add_argument('--stall', type=float, default=30, help='seconds of silence of a stall')
    p.add_argument('command', nargs=argparse.REMAINDER)
    return p.parse_args()

def main():
    a = parse()
    command = a.command[1:] if a.command[:1]==['--'] else a.command
    fault = Fault(*a.fault, every=a.every, times=a.times, seconds=a.stall, after=a.after) \
        if a.fault else None
    proxies = 'http_proxy', 'https_proxy', 'all_proxy'
    offline = 'HF_HUB_OFFLINE', 'HF_DATASETS_OFFLINE', 'TRANSFORMERS_OFFLINE'
    env = {k: v for k,v in os.environ.items() if k.lower() not in proxies and k not in offline}
    with serve(a.data, a.tokenizer, a.port, fault) as url, tempfile.TemporaryDirectory() as home:
        env |= dict(HF_ENDPOINT=url, HF_HOME=home, HF_HUB_DISABLE_XET='1')
        return subprocess.run(command, env=env).returncode

if __name__=='__main__': sys.exit(main())
