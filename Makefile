# Everything a developer types. Each target does its own set-up: a machine needs only Python, make and git.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEV    := $(VENV)/.ready-dev
# Each process has a Postgres of its own; one that is done takes over tests from the others. One more than there are cores,
# as many tests wait for what a server or another process does.
WORKERS := $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
SIDE_BY_SIDE := -n $(WORKERS) --maxprocesses 5 --dist worksteal
# What another version of Postgres has no say in.
ANY_POSTGRES := $(addprefix tests/test_,durations.py feeds.py java_servers.py rendering.py servers.py sources.py writing.py)
ON_15 := tests/delivery tests/story tests/architecture/test_plans.py tests/architecture/test_sql.py \
	$(filter-out $(ANY_POSTGRES),$(wildcard tests/test_*.py))

.DEFAULT_GOAL := help
.PHONY: help demo forum test check bench chaos year docs lock clean

help:  ## list what there is
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## events become batched messages, before your eyes; under two minutes, leaves nothing running
	$(BIN)/hark demo

forum: $(DEV)  ## an example product in your browser: a forum with replies, mutes, a clock to move and tomorrow's digest; PORT=8000
	$(BIN)/python -m examples.forum $(PORT)

test: $(DEV)  ## all tests, on the Postgres that comes with Hark; and on Debian's 15, where it is installed, the quick ones it has a say in
	HARK_TEST_POSTGRES=18 $(BIN)/pytest $(SIDE_BY_SIDE)
	HARK_TEST_POSTGRES=15 $(BIN)/pytest $(SIDE_BY_SIDE) $(ON_15) -m "not slow"

check: $(DEV)  ## ruff, mypy --strict, import-linter, tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) test

bench: $(DEV)  ## measure, and write bench/RESULTS.md; ONLY=fanout for one, SCALE=0.1 for a quick look
	$(BIN)/python -m bench.run $(if $(ONLY),--only $(ONLY)) $(if $(SCALE),--scale $(SCALE))

chaos: $(DEV)  ## kill real processes at every step, in full (the short form is part of make test)
	HARK_CHAOS=full $(BIN)/pytest -m chaos --timeout=7200 tests/chaos
	HARK_FUZZ_MESSAGES=1000000 $(BIN)/pytest --timeout=7200 tests/channels/test_mime.py -k fuzzed

year: $(DEV)  ## a product's whole year in virtual time, in full (the short form is part of make test)
	HARK_YEAR=full $(BIN)/pytest --timeout=14400 tests/year

docs: $(DEV)  ## check that everything is documented, and that what the docs say runs
	$(BIN)/pytest tests/architecture tests/docs

lock: $(DEV)  ## write the lock files anew from pyproject.toml
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --extra files --extra graph --extra dev --extra bench pyproject.toml -o requirements-dev.lock

clean:  ## remove what the targets above made
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(READY): requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

$(DEV): requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $(READY) $@
