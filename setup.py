"Packaging from `settings.ini`, which holds version, requirements and extras."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
ini = ConfigParser(delimiters=['='])
ini.read(here/'settings.ini', encoding='utf-8')
cfg = ini['DEFAULT']
name, suffix = cfg['lib_name'], '_requirements'
extras = {k.removesuffix(suffix): v.split() for k,v in cfg.items() if k.endswith(suffix)}
readme = here/'README.md'
text = readme.read_text(encoding='utf-8') if readme.exists() else cfg['description']

setup(
    name=name,
    version=cfg['version'],
    description=cfg['description'],
    keywords=cfg['keywords'].split(),
    long_description=text,
    long_description_content_type='text/markdown',
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    license='Apache-2.0',
    packages=find_packages(include=[name, name+'.*']),
    include_package_data=True,
    package_data={name: ['configs/*.json', 'recipes/*.yaml', 'py.typed']},
    python_requires='>='+cfg['min_python'],
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    # By the entry point nbdev, the site links names to their documentation and source.
    entry_points={'console_scripts': cfg.get('console_scripts', '').split(),
                  'nbdev': [f'{name}={name}._modidx:d']},
    zip_safe=False,
    classifiers=[
        'Development Status :: 3 - Alpha', 'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Artificial Intelligence'],
)
