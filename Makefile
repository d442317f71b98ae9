# The targets that people, CI and pre-commit call. `make` lists them.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# Processes that share the tests: more than there are cores, for most tests wait most of the time.
JOBS ?= 8

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LOCK := deploy/requirements.lock
# The code itself, by the setuptools that is locked; nothing but what is locked is fetched for it.
OURS := $(PIP) install --no-deps --no-build-isolation --editable .

CORES = $(shell getconf _NPROCESSORS_ONLN)
# Where they can't be installed the tests of containers are skipped.
PROGRAMS_OF_CONTAINERS := bash tests/install-programs.sh containers || echo 'not all programs for containers are here' >&2
WAITING := broker or kafka or redis or browser or chaos or slow or bench or containers or compiled

# Tests start some hundred processes: with compiled modules at hand each takes a third less time to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-all test-quick test-deps test-containers test-examples check ci fmt lint types docs picture lock chaos soak bench mutants clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  PYTHON=python3.12 takes another Python; ARGS="..." goes to the command that a target runs.'

demo: $(VENV)/.demo ## see it work: a broker, a population and its live numbers; ARGS="--scenario drop"
	@exec $(BIN)/engagement demo $(ARGS)

test: $(VENV)/.dev ## run all tests, side by side; what this machine lacks for some is told at the end
	@$(BIN)/python -m pytest -n $(JOBS) $(ARGS)

# Containers have health checks with times that people chose. So they have the machine for themselves, and come first.
test-all: $(VENV)/.dev ## run the tests of containers, and then all others side by side, as CI does
	@$(PROGRAMS_OF_CONTAINERS)
	@status=0; \
	$(BIN)/python -m pytest -n0 -m 'containers and not bench' tests/containers $(ARGS) || status=1; \
	$(BIN)/python -m pytest -n $(JOBS) $(ARGS) || status=1; \
	exit $$status

test-quick: $(VENV)/.dev ## run those that need no broker, server or browser and wait for nothing, with fewer examples
	@$(BIN)/python -m pytest -n $(CORES) -m 'not ($(WAITING))' --hypothesis-profile quick $(ARGS)

test-deps: ## install what tests need besides Python: Java, Maven, Chromium, Redis, Prometheus, libfaketime
	@bash tests/install-programs.sh

test-containers: $(VENV)/.dev ## build the image and run docker-compose.yml in containers, on Debian as root, without Docker
	@$(PROGRAMS_OF_CONTAINERS)
	@$(BIN)/python -m pytest -n0 -m 'containers and not bench' tests/containers -s $(ARGS)

test-examples: $(VENV)/.dev ## run the examples of producers in stream/FORMATS.md in each language; for that in Go it needs Go 1.26
	@$(BIN)/python -m pytest -n0 -m '' tests/integration/test_examples.py $(ARGS)

check: lint types ## everything that is checked without running it
	@$(BIN)/python -m compileall -q stream tests deploy
	@bash -n .ci/run && bash -n tests/install-programs.sh

ci: check test-all ## what CI runs: check, then test-all

fmt: $(VENV)/.dev ## format the code and mend what can be mended
	@$(BIN)/ruff check --fix --quiet stream tests deploy || true
	@$(BIN)/ruff format stream tests deploy

lint: $(VENV)/.dev ## rules of style, format and imports
	@$(BIN)/ruff check stream tests deploy
	@$(BIN)/ruff format --check stream tests deploy
	@$(BIN)/lint-imports

types: $(VENV)/.dev ## mypy --strict over code, tests and deploy
	@$(BIN)/python -m mypy --strict

docs: $(VENV)/.dev ## write the tables of the pages, the dashboards and the made manifests anew
	@$(BIN)/python -m tests.documents
	@$(BIN)/python -m deploy.grafana
	@$(BIN)/python -m deploy.kubernetes

picture: $(VENV)/.dev ## take the pictures of the live page in README.md anew; takes minutes, and needs Chromium
	@$(BIN)/python -m tests.picture

lock: $(VENV)/.dev ## choose the newest versions of everything, for deploy/requirements.lock
	@$(BIN)/python -m deploy.lock

chaos: $(VENV)/.dev ## storms of faults under load on a set-up of chance; ARGS="--seed 7 --minutes 10 --store rocksdb"
	@$(BIN)/python -m pytest tests/chaos/test_chaos.py --seed random --minutes 5 --well-within 30 -s $(ARGS)

soak: $(VENV)/.dev ## 20 minutes in which users come and go: does anything grow? ARGS="--store redis --minutes 5"
	@$(BIN)/python -m tests.soak $(ARGS)

bench: $(VENV)/.dev ## figures: throughput, latency, memory; takes minutes; ARGS="-k peers": beside other programs
	@$(BIN)/python -m pytest -m bench tests/bench -s $(ARGS)

mutants: $(VENV)/.mutants ## which changes of the core no test sees: a sample, or over night ARGS=--all; ARGS="--sample 80 --seed 2"
	@$(BIN)/python -m tests.mutants $(ARGS)

clean: ## remove the virtual environment, all caches and what was built
	@rm -rf $(VENV) .cache .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@rm -rf build dist htmlcov *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the virtual environment: made anew when pyproject.toml or the lock changes ----------------------------------

$(VENV)/.made: pyproject.toml $(LOCK)
	@command -v $(PYTHON) >/dev/null || { echo "no '$(PYTHON)' here: install Python 3.10 or newer, or name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$$($(PYTHON) --version) is too old: this needs 3.10 or newer; name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: install python3-venv (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# The lock is read up to where the part begins that is for more than this.
$(VENV)/.demo: $(VENV)/.made
	@echo "installing into $(VENV), once" >&2
	@sed '/^# -- dev:/,$$d' $(LOCK) >$(VENV)/demo.lock
	@$(PIP) install --require-hashes --requirement $(VENV)/demo.lock
	@$(OURS)
	@touch $@

$(VENV)/.dev: $(VENV)/.made
	@echo "installing what tests and checks need into $(VENV), once" >&2
	@sed '/^# -- mutants:/,$$d' $(LOCK) >$(VENV)/dev.lock
	@$(PIP) install --require-hashes --requirement $(VENV)/dev.lock
	@$(OURS)
	@touch $@ $(VENV)/.demo

$(VENV)/.mutants: $(VENV)/.dev
	@echo "installing what makes mutants into $(VENV), once" >&2
	@$(PIP) install --require-hashes --requirement $(LOCK)
	@touch $@
