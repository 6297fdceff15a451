# The one list of commands. `make` prints it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
BIN := $(VENV)/bin
# The first of these that is Python 3.11 or newer makes the virtual environment; override: make PYTHON=…
PYTHON ?= $(firstword $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$name; \
	done) python3.11)
# Named after what pyproject.toml says, so that only a change of it installs again.
STAMP := $(VENV)/.installed-$(firstword $(shell cksum < pyproject.toml))

MATRIX ?= benchmarks/embedded.py
RESULTS ?= demo_results
PYTEST_ARGS ?= -q -n 2
DEMO_ARGS ?=
BENCH_ARGS ?=

.PHONY: help demo test check tables lint format types unit bench new-method guides opencv ray

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(STAMP) opencv  ## set up, run the embedded benchmark, print the leaderboard
	@$(BIN)/adacal matrix $(MATRIX) --results $(RESULTS) $(DEMO_ARGS)
	@$(BIN)/adacal leaderboard --by energy --results $(RESULTS)
	@$(BIN)/adacal report --results $(RESULTS)
	@echo
	@echo "Records:      $(RESULTS)/records/       one JSON file a run; adacal show explains one"
	@echo "Leaderboards: $(RESULTS)/leaderboards/  tables and pictures made from the records"
	@echo "Page:         $(RESULTS)/report.html    all of it, to sort, filter and look into"

test: $(STAMP) opencv  ## set up, run everything the CI runs: lint, format check, types, tests
	@$(MAKE) --no-print-directory lint types unit

check: format test  ## format, then everything of `make test`

lint: $(STAMP)  ## find mistakes and unformatted files, change nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## format and mend what can be mended safely
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

types: $(STAMP)  ## check the types
	$(BIN)/mypy

unit: $(STAMP)  ## run the tests and the examples in docstrings, on two cores (PYTEST_ARGS="-q": one)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(PYTEST_ARGS)

tables: $(STAMP)  ## make results/leaderboards and the README's table again from results/records
	$(BIN)/adacal leaderboard --write --plot --results results
	$(BIN)/python docs/readme_table.py
	$(BIN)/adacal fronts --write --results results
	$(BIN)/python docs/rate_distortion_page.py
	$(BIN)/python docs/retrained_page.py
	$(BIN)/python docs/when_spikes_pay_page.py

bench: $(STAMP)  ## time everything against its rivals, minutes each; BENCH_ARGS="--clock process"
	@for file in benchmarks/speed/bench_*.py; do \
		echo "== $$file"; $(BIN)/python "$$file" $(BENCH_ARGS); done

new-method: $(STAMP)  ## start a method: make new-method NAME=my_method
	@$(BIN)/adacal new method "$(NAME)"

guides: $(STAMP)  ## write what `adacal new` starts from into docs/how-to
	@$(BIN)/python docs/guides.py

# 240 MB for one executor; its tests say that they were skipped where it is not.
ray: $(STAMP)  ## add Ray to .venv, if it can be had: the executor `ray` and its tests
	@$(BIN)/python -c 'import ray' 2>/dev/null || \
		timeout 180 $(BIN)/pip install --quiet --disable-pip-version-check 'adacal[ray]' >/dev/null 2>&1 || \
		echo "Ray cannot be installed here: its tests will be skipped"

# OpenCV links libGL even where nothing is drawn; bare containers lack it.
opencv: $(STAMP)
	@error=$$($(BIN)/python -c 'import cv2' 2>&1) || { \
		echo "OpenCV does not load ($$(tail -n 1 <<< "$$error")): install its system libraries," \
		"on Debian or Ubuntu with: apt-get install -y libgl1 libglib2.0-0" >&2; exit 1; }

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "adacal needs Python 3.11 or newer and found none: install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV) with $(PYTHON) …"; $(PYTHON) -m venv $(VENV); }
	@echo "Installing adacal and its dependencies into $(VENV) (once; a few minutes, 6.4 GB) …"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@
