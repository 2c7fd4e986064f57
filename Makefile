# Everything from a fresh clone: `make demo` shows the system at work, `make test` proves it. `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-installed
TESTING := $(VENV)/.testing-installed
MEASURING := $(VENV)/.measuring-installed
SLITHER := .venv-slither/.installed
ANVIL := tests/contracts/portable/node_modules/.package-lock.json
PROFILE ?=
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)
TEST_WORKERS ?= $(shell expr $(WORKERS) + 1)
VECTORS ?= $(if $(WATTCHAIN_VECTORS),$(WATTCHAIN_VECTORS),../shared/conformance)

# Tests start hundreds of processes: where Python is told to keep no byte code, each would compile everything again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-artifacts test-portable test-systemd lint lint-contracts format conformance fuzz soak soak-net soak-relay soak-meter bench mining contracts wheels clean

help: ## Show this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r target text; do \
	  printf '  make %-14s %s\n' "$$target" "$$text"; done

demo: $(RUNTIME) ## A day of six homes on a ledger of four nodes, in accelerated time (PROFILE=file.csv or folder, DAYS=1 RATE=1440)
	@$(BIN)/wattchain demo $(if $(PROFILE),--profile "$(PROFILE)") $(if $(DAYS),--days $(DAYS)) $(if $(RATE),--rate $(RATE))

test: $(TESTING) ## All tests, under 5 minutes on two cores
	$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist worksteal -m 'not compiles'

test-artifacts: $(TESTING) ## The contracts compiled again: their artifacts have to come out, byte by byte (needs npm)
	$(BIN)/python -m pytest -m compiles tests/contracts/test_build.py

test-portable: $(TESTING) $(ANVIL) ## The contract tests on a second EVM, anvil, as well (needs npm)
	WATTCHAIN_SECOND_EVM=anvil $(BIN)/python -m pytest -n $(WORKERS) tests/contracts --ignore tests/contracts/test_build.py

test-systemd: $(TESTING) ## Node, meter and agent as services of a real systemd in a container (as root; Debian package systemd-container)
	$(BIN)/python -m tests.systemd

lint: $(TESTING) ## Style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-contracts: $(SLITHER) ## slither over the contracts; everything that it finds is mended or explained (needs npm)
	.venv-slither/bin/python -m contracts.lint

format: $(TESTING) ## Put the sources into the house's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

conformance: $(TESTING) ## All official test vectors (VECTORS=folder)
	$(BIN)/python -m tests.conformance all "$(VECTORS)" --workers $(WORKERS)

fuzz: $(TESTING) ## Random programs against an independent interpreter, for ten minutes (SECONDS=n)
	$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600)

soak: $(TESTING) ## 200 kills at random moments while blocks and readings arrive; 10,000 simulated networks (SEEDS=n)
	$(BIN)/python -m tests.soak
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),10000) --workers $(WORKERS)

soak-net: $(TESTING) ## Half an hour of kills, partitions and load on a network (MINUTES=30 SEED=n CONSENSUS=qbft)
	$(BIN)/python -m tests.soak.network $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(CONSENSUS),--consensus $(CONSENSUS))

soak-relay: $(TESTING) ## Relays through 2,000 random lives, beside a plain reading of the rules (SEEDS=n)
	WATTCHAIN_RELAY_SEEDS=$(or $(SEEDS),2000) $(BIN)/python -m pytest tests/meter/test_relay_property.py -n $(WORKERS)

soak-meter: $(TESTING) ## A year of a home's meter in which everything goes wrong, to the Wh, in some 30 minutes (DAYS=365 SEED=n)
	$(BIN)/python -m tests.soak.meter_kills $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.soak.meter_year $(if $(DAYS),--days $(DAYS)) $(if $(SEED),--seed $(SEED))

bench: $(TESTING) ## The benchmarks, one after another
	$(BIN)/python -m benchmarks.vm
	$(BIN)/python -m benchmarks.ledger
	$(BIN)/python -m benchmarks.readings
	$(BIN)/python -m benchmarks.backlog
	$(BIN)/python -m benchmarks.card_writes
	$(BIN)/python -m benchmarks.network

mining: $(MEASURING) ## Mining time per number of peers beside the El DApp paper's (PEERS=2,3,4 SCALE=1 BLOCKS=100)
	@$(BIN)/wattchain bench mining $(if $(PEERS),--peers "$(PEERS)") $(if $(SCALE),--scale $(SCALE)) $(if $(BLOCKS),--blocks $(BLOCKS))

contracts: $(TESTING) ## Compile the contracts again (needs node and npm)
	$(BIN)/python -m contracts.build

wheels: $(TESTING) ## Ask pip whether every dependency has wheels for both machines and all Python versions
	$(BIN)/python .ci/check_wheels.py

clean: ## Remove the environment and everything that was made
	rm -rf $(VENV) .venv-* build results demo-data .mypy_cache .ruff_cache .hypothesis *.egg-info

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Wattchain needs Python 3.11 or later as $(PYTHON)." ; \
	  echo "Install it with: sudo apt-get install python3 python3-venv   (or name another: make PYTHON=python3.12 ...)" ; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.maxsize < 2**32 or sys.platform != "linux")' || { \
	  echo "Wattchain runs on 64-bit Linux. On a Raspberry Pi choose the 64-bit Raspberry Pi OS." ; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "Python's venv module is missing. Install it with: sudo apt-get install python3-venv" ; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): setup.cfg constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(MEASURING): setup.cfg constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $(RUNTIME) $@

$(TESTING): setup.cfg constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $(RUNTIME) $(MEASURING) $@

$(ANVIL): tests/contracts/portable/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing. Install it with: sudo apt-get install nodejs npm" ; exit 2; }
	cd tests/contracts/portable && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

$(SLITHER): contracts/lint-requirements.txt
	$(PYTHON) -m venv --clear .venv-slither
	.venv-slither/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@
