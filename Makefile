# `make demo` and `make test` need only Python 3.11+, git and make; each sets up its own environment.
PYTHON ?= python3
VENV := .venv
DEMO := .venv-demo

.PHONY: demo test coverage browser mutants lint types bench torture stories faults clean

demo: $(DEMO)/installed
	@$(DEMO)/bin/entitlements demo

# What moves credits is covered to the last branch; `make coverage` shows the rest.
LEDGER := --cov entitlements.ledger --cov entitlements.deciding --cov-fail-under 100
PYTEST := $(VENV)/bin/python -m pytest --ignore tests/browser -n 2 --dist worksteal --cov-report term

test: lint types
	$(PYTEST) $(LEDGER)

coverage: $(VENV)/installed
	$(PYTEST) --cov

browser: $(VENV)/installed
	.ci/debian chromium
	$(VENV)/bin/python -m pytest tests/browser

mutants: $(VENV)/installed
	$(VENV)/bin/python tests/credits/mutants.py
	$(VENV)/bin/python tests/storage/mutants.py

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .

types: $(VENV)/installed
	$(VENV)/bin/mypy

# make torture MINUTES=30 STORAGE=postgres SEED=7
MINUTES ?= 1
STORAGE ?= sqlite
torture: $(VENV)/installed
	$(VENV)/bin/python -m tests.torture --minutes $(MINUTES) --storage $(STORAGE) $(if $(SEED),--seed $(SEED))

# make stories MINUTES=30 SEED=7: of one customer, then of several; `make test` tells some of both.
stories: $(VENV)/installed
	$(VENV)/bin/python -m tests.laws --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))
	$(VENV)/bin/python -m tests.laws --crowd --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

# Every fault at every write and sync of every verb, and the power lost at every moment: about twenty minutes.
faults: $(VENV)/installed
	$(VENV)/bin/python -m tests.faults.syscalls
	$(VENV)/bin/python -m tests.faults.power

bench: $(VENV)/installed
	$(VENV)/bin/python -m benchmarks

$(DEMO)/installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) $(DEMO) build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
