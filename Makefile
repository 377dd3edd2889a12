# make demo: train, export, run on every target, report.   make test: everything that is checked.
# make docs: the documentation, every block run, into docs/_build/html.
# make benchmarks: ours beside eight other libraries (15 minutes; ARGUMENTS=--quick for 2).
# On a machine whose pip would bring the CUDA build of torch:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BIN)/python -m pip install --quiet --constraint constraints.txt

BENCH := .bench
BENCH_PINS := experiments/benchmarks/constraints.txt
BENCH_PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(BENCH)/bin/python -m pip install --quiet
ARGUMENTS ?=

.PHONY: help demo test lint docs lava interchange benchmarks clean
help:
	@grep -E '^# ' Makefile | sed 's/^# //'

demo: $(READY)
	$(BIN)/neurospin run experiments/quickstart.yaml

test: $(READY) lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadgroup

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

# A warning is an error. The blocks of a page run again only when the page or the code has changed.
docs: $(VENV)/docs
	$(BIN)/codespell
	OMP_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -q -c docs -d docs/_build/doctrees . docs/_build/html
	@echo docs/_build/html/docs/index.html

$(VENV)/docs: $(READY)
	$(PIP) --no-build-isolation --editable '.[docs]'
	touch $(VENV)/docs

lava: $(READY)
	$(BIN)/neurospin doctor --setup-lava

# make interchange: our files in spikingjelly, Norse and Spyx, each against our spikes; writes docs/interchange.md.
interchange: $(READY) $(BENCH)/ready
	NEUROSPIN_PEERS_PYTHON=$(CURDIR)/$(BENCH)/bin/python $(BIN)/python experiments/interchange/compare.py

benchmarks: $(BENCH)/ready
	$(BENCH)/bin/python -m experiments.benchmarks.run $(ARGUMENTS)

clean:
	rm -rf $(VENV) $(BENCH) .lava runs dist docs/_build docs/api .pytest_cache .ruff_cache .hypothesis

# The stamp is written last, so that an interrupted build is not taken for a whole one.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "neurospin needs Python 3.11 or newer; give one: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "this Python has no venv: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	@! $(BIN)/python -m pip list 2>/dev/null | grep -iE '^(nvidia|triton)' || \
	  echo "note: this is the CUDA build of torch; for the CPU build: make clean, then give TORCH_INDEX (see Makefile)"
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation --editable '.[dev,frontends,nwb,xarray,sweeps,postgresql,results,tensorboard]'
	$(PIP) --no-deps norse
	touch $(READY)

# Every package pinned and none resolved: two of the libraries would replace torch by its CUDA build. One
# that cannot be installed is told here, and again in the table.
$(BENCH)/ready: $(BENCH_PINS)
	$(PYTHON) -m venv --clear $(BENCH)
	$(BENCH_PIP) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),--extra-index-url https://download.pytorch.org/whl/cpu) \
	  $$(grep '^torch==' $(BENCH_PINS))
	$(BENCH_PIP) --no-deps -r $(BENCH_PINS) || xargs -n 1 $(BENCH_PIP) --no-deps < $(BENCH_PINS) || true
	@! $(BENCH)/bin/python -m pip list 2>/dev/null | grep -iE '^(nvidia|triton|cuda)' || test -n "$(TORCH_INDEX)" || \
	  { echo "CUDA packages arrived; for a GPU give TORCH_INDEX"; exit 1; }
	touch $(BENCH)/ready
