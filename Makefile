# All set-up happens here: the virtual environment is made on first use and
# made anew when the list of dependencies changes.

PYTHON ?= python3
BIN := .venv/bin

SECONDS ?= 60
SEED ?= 0
MODE ?= both
# As many tests at a time as there are cores. PARALLEL= runs them one by one.
PARALLEL ?= -n auto --dist worksteal

.PHONY: run test check bench paths simulate matrix scenarios chaos clean

run: .venv/.installed
	@exec $(BIN)/regrow $(ARGS)

test: .venv/.tested
	$(BIN)/python -m pytest -q $(PARALLEL) $(ARGS)

check: .venv/.checked
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_typing.py

# The whole kill matrix, 5 minutes on two cores; ARGS="-m core", or ARGS="--matrix-sample SEED" for
# core and a tenth of the rest. What was seen: matrix.jsonl; `python -m tests.matrix_table` reads it.
matrix: .venv/.tested
	@rm -f matrix.jsonl
	$(BIN)/python -m pytest -q tests/test_matrix.py $(PARALLEL) --matrix-results matrix.jsonl $(ARGS)

# The path-manager scenarios of Multipath TCP, some minutes. They need network namespaces: root, or
# `unshare -Urn make scenarios`.
scenarios: .venv/.tested
	$(BIN)/python -m pytest -q -rs -m scenario -o faulthandler_timeout=360 $(ARGS)

bench: .venv/.tested
	$(BIN)/python -m tests.bench $(ARGS)

# What a lost path costs, with 100,000 messages: some minutes, on a free machine. ARGS="--only silent"
# for some of it. It needs network namespaces, as the scenarios do.
paths: .venv/.tested
	@$(BIN)/python -m tests.bench_paths $(ARGS)

# How large a tree can be, in virtual time: some 10 minutes on a free core. ARGS="--quick" for a
# minute, ARGS="--nodes 5000 --fan-out 8 --plot simulate.png" for a tree of one's own.
simulate: .venv/.plotting
	$(BIN)/python -m actors.simulation.simulate $(or $(ARGS),--plot simulate.png)

# Random operations on random trees, half of the time on virtual ones, half on processes; MODE=virtual
# or real for one of them. A failed run says how to replay it.
chaos: .venv/.tested
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) --seed $(SEED) --mode $(MODE) $(ARGS)

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Everything here talks on stderr: stdout belongs to the shell.
.venv/bin/python:
	@$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "regrow needs Python 3.11 or later: make PYTHON=python3.11"' >&2
	@$(PYTHON) -m venv .venv >&2 || { echo "no venv module: apt-get install python3-venv" >&2; exit 1; }

.venv/.installed: .venv/bin/python pyproject.toml
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e . >&2
	@touch $@

.venv/.tested: .venv/.installed
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[test]' >&2
	@touch $@

.venv/.plotting: .venv/.installed
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[plot]' >&2
	@touch $@

.venv/.checked: .venv/.tested
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[check,test]' >&2
	@touch $@
