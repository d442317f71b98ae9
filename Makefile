# The targets that people, CI and pre-commit call. `make` lists them.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test check ci fmt lint types docs chaos soak bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  PYTHON=python3.12 takes another Python; ARGS="..." goes to the command that a target runs.'

demo: $(VENV)/.demo ## see it work: a broker, a population and its live numbers; ARGS="--scenario drop"
	@exec $(BIN)/engagement demo $(ARGS)

test: $(VENV)/.dev ## run the tests; those that need a real Kafka are skipped where there is none
	@$(BIN)/python -m pytest $(ARGS)

check: lint types ## everything that is checked without running it
	@$(BIN)/python -m compileall -q stream tests deploy
	@bash -n .ci/run

ci: check test ## what CI runs: check, then test

fmt: $(VENV)/.dev ## format the code and mend what can be mended
	@$(BIN)/ruff check --fix --quiet stream tests deploy || true
	@$(BIN)/ruff format stream tests deploy

lint: $(VENV)/.dev ## rules of style, format and imports
	@$(BIN)/ruff check stream tests deploy
	@$(BIN)/ruff format --check stream tests deploy
	@$(BIN)/lint-imports

types: $(VENV)/.dev ## mypy --strict over code, tests and deploy
	@$(BIN)/python -m mypy --strict

docs: $(VENV)/.dev ## write README.md's tables, the dashboards and the made manifests anew
	@$(BIN)/python -m tests.documents
	@$(BIN)/python -m deploy.grafana
	@$(BIN)/python -m deploy.kubernetes

chaos: $(VENV)/.dev ## storms of faults under load on a set-up of chance; ARGS="--seed 7 --minutes 10 --store rocksdb"
	@$(BIN)/python -m pytest tests/chaos/test_chaos.py --seed random --minutes 5 --well-within 30 -s $(ARGS)

soak: $(VENV)/.dev ## 20 minutes in which users come and go: does anything grow? ARGS="--store redis --minutes 5"
	@$(BIN)/python -m tests.soak $(ARGS)

bench: $(VENV)/.dev ## figures: throughput, latency, memory; takes minutes
	@$(BIN)/python -m pytest -m bench tests/bench -s $(ARGS)

clean: ## remove the virtual environment, all caches and what was built
	@rm -rf $(VENV) .cache .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@rm -rf build dist htmlcov *.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# -- the virtual environment: made anew when pyproject.toml changes ----------------------------------------------

$(VENV)/.made: pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "no '$(PYTHON)' here: install Python 3.10 or newer, or name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$$($(PYTHON) --version) is too old: this needs 3.10 or newer; name one, as in make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: install python3-venv (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: $(VENV)/.made
	@echo "installing into $(VENV), once" >&2
	@$(PIP) install --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made
	@echo "installing what tests and checks need into $(VENV), once" >&2
	@$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.demo
