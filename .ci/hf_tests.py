"""Run Transformers' common model tests on factorized models, and on the plain ones beside them.

    hf_tests.py [ARCHITECTURE ...] [--kind lowrank]

The tests come with the source of the installed version of Transformers, from PyPI. A test that
passes on a plain model and fails on the factorized one is an error of this package."""
import argparse
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from importlib.metadata import version
from pathlib import Path

from common import ROOT, clean_environment, sh

ARCHITECTURES = 'llama', 'qwen2', 'gpt2', 'mistral'
CASES = Path(__file__).with_name('hf_cases.py')
# LoST draws its columns at random, and this test expects equal buffers of two models.
EXPECTED = {'lost': {'test_init_weights_can_init_buffers'}}
# The tests import two files that the source on PyPI lacks; their mixins hold no model tests.
STUBS = {'exporters/test_export.py': 'ExportTesterMixin',
         'generation/test_utils.py': 'GenerationTesterMixin'}
PIP = [sys.executable, *'-m pip --disable-pip-version-check -q'.split()]

def fetch_tests(folder:Path, env:dict)->Path:
    "Unpack the tests of the installed Transformers and install what runs them."
    wanted = f'transformers=={version("transformers")}'
    options = '--no-deps --no-build-isolation --no-binary :all:'.split()
    sh(*PIP, 'download', wanted, *options, '-d', folder, env=env)
    sh(*PIP, 'install', 'pytest', 'parameterized', '-t', folder/'tools', env=env)
    with tarfile.open(next(folder.glob('transformers-*.tar.gz'))) as archive:
        archive.extractall(folder, filter='data')
    tests = next(folder.glob('transformers-*/tests'))
    for name,mixin in STUBS.items():
        (tests/name).parent.mkdir(exist_ok=True)
        (tests/name).write_text(f'class {mixin}: pass\n')
        (tests/name).with_name('__init__.py').touch()
    (tests/'__init__.py').touch()
    (tests/'test_lowrank.py').write_text(CASES.read_text())
    return tests

def outcomes(tests:Path, env:dict, names:list[str], kind:str)->dict[tuple[str,str],str]:
    "Run the tests; return the outcome of each (class, test)."
    report = tests.parent/'report.xml'
    env = dict(env, PYTHONPATH=f'{ROOT}:{tests.parent.parent}/tools', LOWRANK_KIND=kind,
               LOWRANK_ARCHITECTURES=' '.join(names), HF_HUB_OFFLINE='1')
    command = [sys.executable, *'-m pytest -q -p no:cacheprovider'.split(),
               'tests/test_lowrank.py', f'--junitxml={report}']
    subprocess.run(command, cwd=tests.parent, env=env, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    found = {}
    for case in ET.parse(report).iter('testcase'):
        kinds = {child.tag for child in case} & {'failure', 'error', 'skipped'}
        outcome = next(iter(kinds), 'passed')
        found[case.get('classname').split('.')[-1], case.get('name')] = outcome
    return found

def summarize(found:dict, names:list[str], kind:str)->int: # tests that only factorized models fail
    new, expected = 0, EXPECTED.get(kind, ())
    for name in names:
        plain = {t: o for (c,t),o in found.items() if c==f'Plain_{name}'}
        low = {t: o for (c,t),o in found.items() if c==f'LowRank_{name}'}
        def count(results, outcome):
            return sum(o==outcome for o in results.values())
        differ = {t: o for t,o in low.items() if plain[t]=='passed' and o!='passed'}
        bad = [t for t,o in differ.items() if o!='skipped' and t not in expected]
        for title,results in (('plain', plain), (kind, low)):
            print(f'{name}, {title}: {count(results, "passed")} passed, '
                  f'{count(results, "failure")} failed, {count(results, "skipped")} skipped')
        for test,outcome in differ.items():
            print(f'  {kind} alone: {test} {outcome}')
        new += len(bad)
    return new

def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('architectures', nargs='*', default=ARCHITECTURES)
    parser.add_argument('--kind', default='lowrank')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as d:
        env = clean_environment(f'{d}/home')
        tests = fetch_tests(Path(d), env)
        found = outcomes(tests, env, args.architectures, args.kind)
        sys.exit(bool(summarize(found, args.architectures, args.kind)))

if __name__=='__main__': main()
