# Two commands matter: `make run` (a virtual pump to talk to) and `make test` (everything CI runs).
# Both need nothing but python3 (3.11 or later), make and a network; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# The steps share one environment and one cache; running them side by side would only make them trip over each other.
.NOTPARALLEL:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --require-virtualenv

# Where the virtual pump is offered by `make run`: a pseudo-terminal, and this TCP port (0: any free one).
PORT ?= 7410
LISTEN ?= --listen pty: --listen tcp://127.0.0.1:$(PORT)
# The suite's tests share nothing, so that `make test` runs them side by side; a third fills what two cores wait for. `make test WORKERS=0` runs them in turn.
WORKERS ?= 3
PARALLEL = --numprocesses $(WORKERS) --dist worksteal
# What is arithmetic alone can tell nothing new on the installed wheel, and coverage's tracer makes it several times slower:
# `make test` runs it beside the sources without, and everything else once, on the wheel and with. `make coverage` traces all.
PURE := tests/protocol tests/sim/pump tests/stateful tests/campaigns tests/reference tests/sounds \
	$(addprefix tests/sim/test_,faults.py hostile_orders.py recording.py roles.py) tests/scenario/test_stock.py \
	tests/conform/test_bad_equipment.py
# Inputs per target of `make fuzz`.
FUZZ_RUNS ?= 1000000
# The locks are made from the public index, whatever pip is set up with on the machine that makes them, and name wheels
# only: a source archive would want a compiler, which a fresh machine does not have, and unlocked build dependencies.
LOCK_PIP_CONFIG ?= /dev/null

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

# --- environments ----------------------------------------------------------------------------------------------------
# A stamp is newer than everything that its environment was built from, so that a second call costs nothing. The
# dependencies come hashed from a lock; the project itself is then linked in with the locked build backend.

$(BIN)/python:
	@tools/venv.sh "$(PYTHON)" "$(VENV)"

$(VENV)/.run-ready: requirements/run.lock pyproject.toml | $(BIN)/python
	@echo "Installing what the simulator needs into $(VENV) (first time only, about half a minute) ..."
	@$(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements/run.lock
	@$(PIP_INSTALL) --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev-ready: requirements/dev.lock pyproject.toml | $(BIN)/python
	@echo "Installing what the tests need into $(VENV) (first time only, one or two minutes) ..."
	@$(PIP_INSTALL) --require-hashes --only-binary :all: -r requirements/dev.lock
	@$(PIP_INSTALL) --quiet --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/.run-ready

# --- what people type ------------------------------------------------------------------------------------------------

.PHONY: run
run: $(VENV)/.run-ready ## serve a virtual pump on a pseudo-terminal and a TCP port until Ctrl-C
	@exec $(BIN)/telemetry sim $(LISTEN)

.PHONY: test
test: lint ## everything CI runs: lint, types, import rules, real BlueZ, the suite (its shells on the built wheel)
	@mkdir -p build
	$(BIN)/python -m tools.debian
	$(BIN)/pytest $(PARALLEL) --junitxml=build/junit-pure.xml $(PURE)
	@$(MAKE) --no-print-directory test-bluez
	tools/test_wheel.sh "$(BIN)/python" "$(PURE)" $(PARALLEL) --cov --cov-report=term --junitxml="$(CURDIR)/build/junit-wheel.xml"
	$(BIN)/python tools/trace.py --brief --junit build/junit-pure.xml --junit build/junit-wheel.xml --output build/trace.md

.PHONY: test-bluez
test-bluez: $(VENV)/.dev-ready ## our central on Debian's kernel and BlueZ in an emulated machine, about a minute; log in build/bluez
	TELEMETRY_BLUEZ=1 $(BIN)/pytest tests/bluez/test_real_bluez.py -p no:cacheprovider

.PHONY: lint
lint: $(VENV)/.dev-ready ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

.PHONY: coverage
coverage: $(VENV)/.dev-ready ## the suite with a line-by-line coverage report in build/htmlcov
	@mkdir -p build
	$(BIN)/pytest --cov --cov-report=term --cov-report=html:build/htmlcov

.PHONY: bench
bench: $(VENV)/.dev-ready ## measure, beside the peers
	$(BIN)/python benchmarks/run.py

.PHONY: campaign-ledger
campaign-ledger: $(VENV)/.dev-ready ## ten thousand random programmes on twin pumps: every nanolitre, every window, every bit
	PYTHONPATH=. $(BIN)/python tools/ledger_campaign.py --output benchmarks/results/ledger_campaign.json

.PHONY: campaign-oracle
campaign-oracle: $(VENV)/.dev-ready ## ten thousand random lives of the pump against a reference written from the documents
	PYTHONPATH=. $(BIN)/python tools/oracle_campaign.py --output benchmarks/results/oracle_campaign.json

.PHONY: campaign-kill
campaign-kill: $(VENV)/.dev-ready ## kill -9 the simulator 60 times in the middle of a change
	$(BIN)/python tools/kill_campaign.py --output benchmarks/results/kill_campaign.json

.PHONY: qualify
qualify: $(VENV)/.dev-ready ## the conformance kit on equipment that is wrong on purpose, each caught by the step that names its fault
	$(BIN)/telemetry conform self-test

.PHONY: fuzz
fuzz: $(VENV)/.dev-ready ## feed FUZZ_RUNS inputs to every decoder
	FUZZ_RUNS=$(FUZZ_RUNS) $(BIN)/python tools/fuzz.py

.PHONY: trace
trace: $(VENV)/.dev-ready ## a row per invariant: what it says, how it is checked, which tests, how they went
	@$(BIN)/python tools/trace.py $(addprefix --junit ,$(wildcard build/junit-*.xml))

.PHONY: docs
docs: $(VENV)/.dev-ready ## rebuild the generated parts of docs/
	$(BIN)/python tools/docs.py
	$(BIN)/python -m tools.fault_page

.PHONY: lock
lock: $(VENV)/.dev-ready ## resolve the dependencies anew into requirements/*.lock
	$(call compile,run,)
	$(call compile,dev,--extra all --extra dev --constraint requirements/run.lock)

define compile
env PIP_CONFIG_FILE=$(LOCK_PIP_CONFIG) CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --upgrade \
	--generate-hashes --strip-extras --allow-unsafe --build-deps-for editable \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options --pip-args "--only-binary :all:" \
	$(2) --output-file requirements/$(1).lock pyproject.toml
endef

.PHONY: clean
clean: ## remove the environment, the caches and everything that was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
