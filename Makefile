# `make compile` and `make test` need Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The build backend warns about our folder names on every editable install; nothing to act on.
INSTALL := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: compile test test-wide lint docs bench bench-all consumers mutate lowest wheel-test clean

compile: $(VENV)/.base
	$(BIN)/ullage warm-up
	$(BIN)/ullage compile resnet50 --target edge-npu --dtype int8
	@echo "the command is $(BIN)/ullage, or ullage after: . $(BIN)/activate"

test: $(VENV)/.test
	$(BIN)/ullage warm-up
	$(BIN)/python -m pytest -n auto

# The same with all parameters of the tests that are marked as wide: half an hour longer.
test-wide: $(VENV)/.test
	$(BIN)/ullage warm-up
	$(BIN)/python -m pytest -n auto --wide

lint: $(VENV)/.lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m tests.support.link_types
	$(BIN)/mypy -p ullage
	$(BIN)/lint-imports

# The suite `quick`, and docs/benchmarks.md and docs/leaderboard.md from stored results: minutes.
bench: $(VENV)/.test
	$(BIN)/ullage warm-up
	$(BIN)/python benchmarks/run_all.py --only quick
	$(BIN)/python benchmarks/problem_set.py --board

# All benchmarks that have not been run with these sources: days of processor time.
bench-all: $(VENV)/.mutation
	$(BIN)/ullage warm-up
	$(BIN)/python benchmarks/run_all.py
	$(BIN)/python benchmarks/problem_set.py --board

# Other tools with our plans and problems (ExecuTorch, torch.export, MLIR ...), and the table of
# docs/compatibility.md; downloads some gigabytes.
consumers: $(VENV)/.test
	$(BIN)/python benchmarks/consumers.py --install

# Breaks the core modules in small ways and prints what no test notices (an hour of CPU time):
# make mutate MODULES="hwmodels/cost.py hwmodels/bounds.py" SAMPLE=100
mutate: $(VENV)/.mutation
	$(BIN)/python -m tests.mutation.run $(if $(SAMPLE),--sample $(SAMPLE)) $(MODULES)

# The lowest versions that pyproject.toml allows, in an environment of their own, and a smoke test.
lowest: $(VENV)-lowest/.base
	$(VENV)-lowest/bin/python tests/support/smoke.py

# Wheel and sdist, installed in empty environments far from the repository, and the same smoke test:
# on every supported Python that is found, or make wheel-test PYTHONS="python3.12 python3.13";
# with PACKAGES=--wheel-alone the sdist is built and compared, but not installed.
wheel-test:
	$(PYTHON) tests/support/packages.py $(PACKAGES) $(PYTHONS)

# The documentation as a site, in build/site; warnings are errors.
docs: $(VENV)/.docs
	$(BIN)/python -m tests.support.link_types
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) $(VENV)-lowest build out

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)-lowest/.base: pyproject.toml tests/support/lowest.py
	$(PYTHON) -m venv --clear $(VENV)-lowest
	$(PYTHON) tests/support/lowest.py > $(VENV)-lowest/constraints.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint $(VENV)-lowest/constraints.txt --editable .
	touch $@

$(VENV)/.base: $(VENV)/bin/python pyproject.toml
	@echo "installing ullage and what it needs into $(VENV): some minutes, 800 MB; pip is silent meanwhile"
	$(INSTALL) --editable .
	touch $@

$(VENV)/.test: $(VENV)/bin/python pyproject.toml
	@echo "installing ullage and what its tests need into $(VENV): some minutes; pip is silent meanwhile"
	$(INSTALL) --editable '.[test]'
	touch $@ $(VENV)/.base

$(VENV)/.lint: $(VENV)/.test
	$(INSTALL) --editable '.[test,lint]'
	touch $@

$(VENV)/.docs: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable '.[docs]'
	touch $@

$(VENV)/.mutation: $(VENV)/.test
	$(INSTALL) --editable '.[mutation]'
	touch $@
