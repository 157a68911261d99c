# The two commands: `make demo` and `make test`. Each makes its environment first, from the pinned versions of constraints.txt.
SHELL  := /bin/bash
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
MIN    := .venv-min

.PHONY: help env demo test style slow site docs-check hf-tests bench min nbs clean
help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1	/' | expand -t 20

$(STAMP): setup.py settings.ini constraints.txt
	@echo "making the environment in $(VENV) (packages are downloaded once)"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e '.[dev]' -c constraints.txt
	@touch $(STAMP)

env: $(STAMP) ## make the environment only

demo: $(STAMP) ## compare the methods on a corpus that Python carries, about 4 minutes on two cores
	$(BIN)/python run_c4.py --demo

test: $(STAMP) ## everything that CI runs
	$(BIN)/python .ci/check.py

style: $(STAMP) ## ruff: lines, statements, unused names
	$(BIN)/ruff check .

slow: $(STAMP) ## the notebooks' long cells too
	$(BIN)/nbdev_test --flags slow --n_workers 1 --timing

site: $(STAMP) ## the documentation, in _docs (needs Quarto 1.7)
	@command -v quarto > /dev/null || { echo "quarto is not installed; see https://quarto.org"; exit 1; }
	rm -rf _proc _docs
	touch README.md # nbdev_docs makes a README of its own if index.ipynb is newer
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/nbdev_docs
	$(BIN)/python .ci/site.py _docs _proc

docs-check: $(STAMP) ## run every notebook and compare its outputs with the stored ones, numbers too
	@for n in nbs/*.ipynb nbs/tests/*.ipynb; do echo $$n; $(BIN)/python .ci/notebook.py $$n --exact || exit 1; done

$(MIN)/.installed: setup.py settings.ini constraints-min.txt
	$(PYTHON) -m venv $(MIN)
	$(MIN)/bin/pip install -q -e '.[dev]' -c constraints-min.txt
	@touch $@

min: $(MIN)/.installed ## the core notebooks and a short run with the oldest versions that settings.ini admits
	$(MIN)/bin/python .ci/oldest.py

hf-tests: $(STAMP) ## Transformers' own model tests on factorized models (fetches its source from PyPI)
	for kind in lowrank cola lost; do $(BIN)/python .ci/hf_tests.py --kind $$kind || exit 1; done

bench: $(STAMP) ## the CPU benchmarks, one after the other (on a quiet machine; benchmarks/feed.py and gpu.py need arguments of their own)
	for b in exact sharded lazy layers shared_inputs head step parts breakdown decode startup save; do $(BIN)/python benchmarks/$$b.py || exit 1; done
	$(BIN)/python benchmarks/breakdown.py --loss --models llama_60m llama_130m
	$(BIN)/python benchmarks/step.py --threads 1 2 --models llama_350m --kinds dense lowrank --out benchmarks/results/step_350m.json

nbs: $(STAMP) ## execute the notebooks in place, in order, and clean them
	@for n in nbs/*.ipynb nbs/tests/*.ipynb; do echo $$n; $(BIN)/jupyter nbconvert --to notebook --execute --inplace \
	  --ExecutePreprocessor.timeout=1800 --log-level=WARN $$n || exit 1; done
	$(BIN)/nbdev_export && $(BIN)/nbdev_clean && $(BIN)/python .ci/outputs.py --strip

clean: ## remove what the targets made
	rm -rf _docs _proc build dist *.egg-info $(VENV) $(MIN)
