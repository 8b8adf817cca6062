# Two commands matter: `make run` and `make test`. Nothing but Python 3.11+ and make is needed beforehand.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
# Of tests: one to a core. More at a time, and the flow tests, each with a whole portal, wait in vain. Files are begun
# in the order of their names: the long ones of few tests would be left for the end otherwise, one process alone at them.
PROCESSES ?= 2

.PHONY: run setup test check lock clean benchmarks

run: setup
	@PYTHONUNBUFFERED=1 exec $(PY) manage.py up

setup: $(VENV)/.run-ready

$(VENV)/.python-ready:
	@$(PYTHON) deploy/python_ready.py
	@echo "Making the virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run-ready: requirements/run.txt | $(VENV)/.python-ready
	@echo "Installing what the portal needs (locked, with hashes); the first time this takes about a minute ..."
	@$(PY) -m pip install --disable-pip-version-check --progress-bar off --require-hashes -r requirements/run.txt \
	  | $(PY) deploy/pip_progress.py requirements/run.txt
	@touch $@

$(VENV)/.test-ready: requirements/test.txt | $(VENV)/.python-ready
	@echo "Installing what the tests need (locked, with hashes) ..."
	@$(PY) -m pip install --disable-pip-version-check --quiet --require-hashes -r requirements/test.txt
	@touch $(VENV)/.run-ready $@

test: $(VENV)/.test-ready
	@$(PY) tests/system_packages.py
	@$(PY) -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/.test-ready
	@$(PY) deploy/check.py

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links -o requirements/run.txt requirements/run.in
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links -o requirements/test.txt requirements/test.in

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
