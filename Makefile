# make demo: personalise a bundled subject; make test: the suite; both install what they need first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export DO_NOT_TRACK := 1
unexport PYTHONDONTWRITEBYTECODE  # or each of the many processes of a run compiles our sources anew

.PHONY: help demo test lint format bench toybench docs lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

demo: $(READY)  ## personalise the bundled subject and say where its report is
	dreamline demo

test: $(READY)  ## the whole suite, ten minutes on two idle cores
	pytest -n 2 --dist loadfile

lint: $(READY)  ## ruff, mypy, import-linter
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: $(READY)  ## let ruff rewrite
	ruff check --fix .
	ruff format .

bench: $(READY)  ## what is too slow for the suite; see bench/README.md
	@cat bench/README.md

toybench: $(READY)  ## a row of ToyBench: make toybench METHOD=dreambooth_lora [SPLIT=full]
	python -m bench.toybench $(METHOD) --split $(or $(SPLIT),small)

docs: $(READY)  ## docs/configuration.md from the params' own schema
	python -m docs.configuration

lock: $(READY)  ## renew requirements.lock after editing pyproject.toml
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet '.[dev]'
	(head -1 requirements.lock; $(VENV)-lock/bin/pip freeze --all | grep -viE '^(pip|dreamline)\b') > requirements.lock.new
	mv requirements.lock.new requirements.lock
	rm -rf $(VENV)-lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
	  || { echo "error: Python 3.11 is needed; name one: make PYTHON=/path/to/python3.11"; exit 1; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (5 GB, some minutes the first time) ..."
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:  ## remove the virtual environment and caches (not your data)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
