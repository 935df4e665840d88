# Every target makes its own .venv when there is none; another Python: make PYTHON=python3.12 test
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PIP := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install quickstart test test-slow lint docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch comes first and alone: another package that asks for it could choose another build.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 14) or sys.exit("morphogen needs Python 3.11 to 3.13, and $(PYTHON) is %d.%d: make PYTHON=python3.12 ..." % v)'
	@test -x $(PY) || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing torch, then the rest"
	@$(PIP) torch
	@$(PIP) -e '.[test]'
	@touch $@

install: $(READY) ## make .venv with everything in it

quickstart: $(READY) ## train four kinds of models and write quickstart/report.html, in about six minutes
	@$(VENV)/bin/morphogen quickstart --out quickstart

lint: $(READY) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test: lint ## lint, then all fast tests
	@$(PY) -c 'import importlib.util as u, sys; u.find_spec("torchvision") and sys.exit("torchvision is installed: builds of it that do not fit torch break other packages; pip uninstall it")'
	$(PY) -m pytest

test-slow: $(READY) ## the tests that take minutes
	$(PY) -m pytest -m slow --timeout 3600

docs: $(READY) ## build the site of README and docs/ in build/site, strictly
	@$(PIP) -e '.[docs]'
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet
	@echo "the site is at build/site/index.html; python -m http.server --directory build/site serves it with search"

bench: $(READY) ## measure speed, memory and the quickstart, in about an hour; name the longer ones
	$(PY) -m benchmarks.run

clean: ## remove .venv, caches and build products
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
	find src tests benchmarks recipes tools -name __pycache__ -type d -prune -exec rm -rf {} +
