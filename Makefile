# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv once and reuse it.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
DEMO ?= demo
BENCH ?= $(if $(VIDEO),benchmarks/results.json,build/bench.json)

BIN := $(VENV)/bin
STAMP = $(VENV)/.installed
SETUP := pyproject.toml CMakeLists.txt Makefile
PIP_FLAGS := --disable-pip-version-check --no-input --quiet
# What pip does with a wheel's modules and not with a checkout's: without it, every start may compile all of them.
BYTECODE = $(BIN)/python -m compileall -q engine stream tools train

.DEFAULT_GOAL := help
.PHONY: help demo test lint format check bench wheel clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(STAMP)-demo ## set up .venv, build a clip, label it, say where the result is
	$(BIN)/iznet demo --output $(DEMO)

test: $(STAMP)-test check ## set up .venv, then ruff, mypy and the tests
	$(BIN)/python -m pytest -n $(JOBS)

check: $(STAMP)-test ## ruff and mypy only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)-test ## let ruff put the sources in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)-test ## speed against a plain transcode, and what changed since the last time; VIDEO=clip.mp4 and ARGS
	@mkdir -p $(dir $(BENCH))
	@$(BYTECODE)
	$(BIN)/iznet bench $(VIDEO) $(ARGS) $(if $(wildcard $(BENCH)),--compare $(BENCH)) -o $(BENCH).new --overwrite
	@mv $(BENCH).new $(BENCH)
	$(if $(filter benchmarks/results.json,$(BENCH)),$(BIN)/python -m benchmarks.results)

wheel: $(STAMP)-test ## dist/iznet-….whl
	$(BIN)/python -m pip $(PIP_FLAGS) wheel --no-deps --wheel-dir dist .

clean: ## remove what make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "IZ*Net needs Python 3.11 or newer, this is " \
	  + sys.version.split()[0] + "; say which with: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(STAMP)-demo: $(SETUP) | $(BIN)/python
	@echo "Installing into $(VENV) (once; a few minutes on a slow line) …"
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable ".[demo]"
	@$(BYTECODE)
	@touch $@

$(STAMP)-test: $(SETUP) | $(BIN)/python
	@echo "Installing into $(VENV) with everything that the tests need (once) …"
	$(BIN)/python -m pip install $(PIP_FLAGS) --editable ".[demo,dev,train,bench]"
	@$(BYTECODE)
	@touch $@ $(STAMP)-demo
