# TaskFlow: `make run` starts the whole system, `make test` runs every check. Both set up what they need.
# Needed: make, and a python3 >= 3.11 with pip. No Docker, no root.

.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/sh

VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
BENCH := $(VENV)/.bench
REQUIREMENTS := deployments/requirements
IMAGES := api worker scheduler dlq-consumer notifier migrate
# A python that merely lies on the PATH (a shim of a version that is not installed) must not be chosen.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
PIP = $(PYTHON) -m pip --python $(BIN)/python install -qq --no-compile --no-input \
	--disable-pip-version-check --root-user-action=ignore --only-binary :all:
COMPILE = uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: setup run dashboard dashboard-or-not dashboard-check test lint types pytest bench chaos model clean help requirements format

setup: $(READY)  ## make .venv with everything that is needed; does nothing if nothing changed

# `make run` needs half of what the tests need, and should not wait for the rest.
$(RUNS): $(REQUIREMENTS)/runtime.txt $(REQUIREMENTS)/build.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: expected a python3 >= 3.11 with pip on the PATH" >&2; exit 1; }
	@echo "setup: $(VENV) with $$($(PYTHON) --version), from $(REQUIREMENTS)/runtime.txt"
	@$(PYTHON) -m venv --without-pip --clear $(VENV)
	@$(PIP) --require-hashes -r $(REQUIREMENTS)/runtime.txt -r $(REQUIREMENTS)/build.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(READY): $(RUNS) $(REQUIREMENTS)/dev.txt
	@echo "setup: what tests and linters need, from $(REQUIREMENTS)/dev.txt"
	@$(PIP) --require-hashes -r $(REQUIREMENTS)/dev.txt
	@touch $@

$(BENCH): $(READY) $(REQUIREMENTS)/bench.txt
	@test -n "$(PYTHON)" || { echo "make: expected a python3 >= 3.11 with pip on the PATH" >&2; exit 1; }
	@echo "setup: what the measurements need, from $(REQUIREMENTS)/bench.txt"
	@$(PIP) --require-hashes -r $(REQUIREMENTS)/bench.txt
	@touch $@

# Without it the system runs all the same, and says what is missing.
dashboard: $(RUNS)  ## build the dashboard, if it is not as its sources are
	@$(BIN)/python services/dashboard/build.py

dashboard-or-not: $(RUNS)
	@$(BIN)/python services/dashboard/build.py || echo "dashboard: goes on without it; make dashboard tries again" >&2

run: $(RUNS) dashboard-or-not  ## run the whole system on this machine; HTTP_PORT=8080, ARGS="--workers 4 --import mytasks"
	@exec $(BIN)/taskflow dev $(ARGS)

test: setup lint types dashboard-check dashboard-or-not pytest  ## every check: lint, types, import contracts, all tests

# All of them: two at once (tests/conftest.py), files undivided, as many wait more than they work.
pytest: setup  ## the tests alone; ARGS="tests/unit -k retry"
	@$(BIN)/python -m pytest $(if $(ARGS),$(ARGS),-n auto --dist loadfile)

lint: setup  ## ruff, bandit and the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@said=$$($(BIN)/bandit --quiet --configfile pyproject.toml --recursive libs services 2>&1) || \
		{ echo "$$said" | grep -v "nosec encountered"; exit 1; }
	@$(BIN)/lint-imports

dashboard-check: setup  ## types, style and tests of the dashboard; where Node cannot be had it says so
	@$(BIN)/python services/dashboard/build.py --check || [ $$? -eq 3 ]

types: setup  ## mypy, strict
	@$(BIN)/mypy libs services

format: setup  ## let ruff lay out the code and mend what it can
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

bench: $(BENCH)  ## measure everything, and write docs/benchmarks.md; ARGS="--only drain --rounds 1"
	@$(BIN)/python -m tests.benchmarks $(if $(ARGS),$(ARGS),--report)

chaos: setup  ## break everything, and write docs/reliability.md; ARGS="--only NAME --logs FOLDER"
	@$(BIN)/python -m tests.chaos --report $(ARGS)

model: setup  ## every pair of faults in the model of the protocol; the engine against a small model, at length
	@$(BIN)/python -m tests.property.protocol --pairs --jobs 2
	@$(BIN)/python -m tests.property.stateful --examples 300

requirements:  ## write the hashed requirements anew from pyproject.toml; needs uv
	@cd $(REQUIREMENTS) && $(COMPILE) ../../pyproject.toml --extra all -o runtime.txt
	@cd $(REQUIREMENTS) && for service in $(IMAGES); do \
		$(COMPILE) ../../pyproject.toml --extra $$service -c runtime.txt -o $$service.txt || exit; done
	@cd $(REQUIREMENTS) && $(COMPILE) ../../pyproject.toml --extra otel -c runtime.txt -o otel.txt
	@cd $(REQUIREMENTS) && $(COMPILE) --group ../../pyproject.toml:dashboard -o dashboard.txt
	@cd $(REQUIREMENTS) && $(COMPILE) --group ../../pyproject.toml:build -c runtime.txt -o build.txt
	@cd $(REQUIREMENTS) && $(COMPILE) ../../pyproject.toml --extra all \
		--group ../../pyproject.toml:test --group ../../pyproject.toml:lint -c runtime.txt -c build.txt -o dev.txt
	@cd $(REQUIREMENTS) && $(COMPILE) --group ../../pyproject.toml:bench \
		-c runtime.txt -c build.txt -c dev.txt -o bench.txt

clean:  ## remove .venv, caches and, if no `taskflow dev` runs, its data
	@place=$$($(BIN)/python -c 'from taskflow.cli.dev import postgres; print(postgres.programs_copy())' 2>/dev/null); \
		case "$$place" in /var/tmp/taskflow-*|/tmp/taskflow-*) rm -rf -- "$$place";; esac
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@rm -rf services/dashboard/node_modules services/dashboard/openapi.json services/dashboard/src/api/schema.d.ts
	@rm -rf services/api/taskflow_api/dashboard
	@find libs services tests -name __pycache__ -type d -prune -exec rm -rf {} +
	@if ! test -e .taskflow; then :; \
	elif test -e .taskflow/lock && ! python3 -c 'import fcntl; fcntl.flock(open(".taskflow/lock", "r+"), fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null; then \
		echo "clean: .taskflow is kept: a taskflow dev uses it"; \
	else \
		place=$$(cat .taskflow/postgres-location 2>/dev/null); \
		case "$$place" in /var/tmp/taskflow-*|/tmp/taskflow-*) rm -rf -- "$$place";; esac; \
		rm -rf .taskflow; \
	fi

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' Makefile
