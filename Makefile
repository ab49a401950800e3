# `make demo` and `make test` need only Python 3.11+, git and make; each sets up its own environment.
PYTHON ?= python3
VENV := .venv
DEMO := .venv-demo

.PHONY: demo test browser mutants lint types bench clean

demo: $(DEMO)/installed
	@$(DEMO)/bin/entitlements demo

test: lint types
	$(VENV)/bin/python -m pytest --ignore tests/browser --cov --cov-report=term

browser: $(VENV)/installed
	.ci/chromium
	$(VENV)/bin/python -m pytest tests/browser

mutants: $(VENV)/installed
	$(VENV)/bin/python tests/credits/mutants.py
	$(VENV)/bin/python tests/storage/mutants.py

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .

types: $(VENV)/installed
	$(VENV)/bin/mypy

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
