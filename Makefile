# `make compile` and `make test` need Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The build backend warns about our folder names on every editable install; nothing to act on.
INSTALL := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: compile test lint bench clean

compile: $(VENV)/.base
	$(BIN)/ullage warm-up
	$(BIN)/ullage compile resnet50 --target edge-npu --dtype int8

test: $(VENV)/.test
	$(BIN)/ullage warm-up
	$(BIN)/python -m pytest -n auto

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tests.support.link_types
	$(BIN)/mypy -p ullage
	$(BIN)/lint-imports

bench: $(VENV)/.test
	$(BIN)/ullage warm-up
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf $(VENV) build out

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable .
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable '.[test]'
	touch $@ $(VENV)/.base

$(VENV)/.lint: $(VENV)/.test
	$(INSTALL) --editable '.[test,lint]'
	touch $@
