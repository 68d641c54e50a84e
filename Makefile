# Two commands for a fresh machine with Python 3.11+ and make; each sets up its own virtual environment.
#   make demo    install, then convert, train and measure Meta-SpikeFormer on real digits
#   make test    the whole test suite, with coverage
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := neuro quant hardware_models tests benchmarks

.PHONY: demo test slow lint types wheel clean

demo: $(VENV)/.installed
	$(BIN)/neuro convert --model spikeformer_v2 --timesteps 4

# One thread a process, two processes: tests are many small runs.
test: $(VENV)/.developed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 \
	  --cov --cov-report=term:skip-covered --durations=10

slow: $(VENV)/.developed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "slow"

lint: $(VENV)/.developed
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(VENV)/.developed
	$(BIN)/mypy

wheel: $(VENV)/.developed
	$(BIN)/python -m build --wheel

clean:
	rm -rf $(VENV) build dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/.created:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "neuro needs Python 3.11 or newer; run make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.developed: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install --quiet --editable '.[dev,peers]'
	touch $@ $(VENV)/.installed
