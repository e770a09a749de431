# contextlab: every target is one line that README.md gives as a plain command as well.
# uv makes the environment (.venv) from uv.lock. Where no uv is installed, a pinned one goes into .uv;
# the system's Python is only ever asked to make that folder.

.DEFAULT_GOAL := help
.PHONY: help setup lab test check lint runs lessons bench lock clean

UV_VERSION := 0.13.8
# An installed uv that answers, else our own. (A shim may exist and not answer.)
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo .uv/bin/uv)
OWN_UV := $(filter .uv/%,$(UV))
RUN := $(UV) run --locked

# make setup PYTHON=python3.13 chooses the interpreter.
PYTHON ?=
ifneq ($(PYTHON),)
export UV_PYTHON := $(PYTHON)
endif

# Test processes; each has one thread (conftest.py), so that digits do not depend on the machine.
WORKERS ?= 2
# Jupyter refuses root unless told, and without a display there is no browser to open: it prints the address.
LAB_FLAGS ?= $(shell test "$$(id -u)" = 0 && echo --allow-root) \
  $(shell test "$$(uname -s)" = Linux && test -z "$$DISPLAY$$WAYLAND_DISPLAY$$BROWSER" && echo --no-browser)

help: ## this list
	@echo "contextlab: make lab starts the course, make test proves that all of it works."
	@echo ""
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1	\2/p' Makefile

setup: $(if $(OWN_UV),.uv/uv-$(UV_VERSION)) ## make or refresh the environment in .venv
	$(UV) sync --locked --compile-bytecode

lab: setup ## open JupyterLab at the first lesson
	$(RUN) jupyter lab --LabApp.default_url=/lab/tree/lessons/00_start_here.ipynb $(LAB_FLAGS)

test: setup ## the whole suite: unit tests, doctests, lint, every lesson
	$(RUN) pytest -n $(WORKERS)

check: setup ## the suite without the lessons: a few minutes
	$(RUN) pytest -n $(WORKERS) tests contextlab --ignore=tests/lessons

lint: setup ## style of code and notebooks
	$(RUN) ruff check
	$(RUN) ruff format --check

runs: setup ## train what the lessons show (quick budget), skipping what is there
	$(RUN) python -m contextlab runs

lessons: setup ## execute the lessons and refresh their outputs
	$(RUN) python -m contextlab.exercises refresh

bench: setup ## time and memory of every module against its plain version
	$(RUN) python benchmarks/modules.py

lock: $(if $(OWN_UV),.uv/uv-$(UV_VERSION)) ## resolve anew: uv.lock, then requirements.txt from it
	$(UV) lock
	$(UV) export --locked --no-hashes --no-emit-project --no-annotate --quiet --output-file requirements.txt

clean: ## remove the environment and all caches of this folder
	rm -rf .venv .uv .pytest_cache .ruff_cache .hypothesis build dist *.egg-info

# The pinned uv: any Python from 3.11 on that can make a virtual environment will do.
.uv/uv-$(UV_VERSION):
	@set -e; new=; able=; \
	for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 || continue; \
	  new=$$python; \
	  "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1 && able=$$python && break; \
	done; \
	if [ -z "$$new" ]; then \
	  found=none; \
	  for python in python python3; do \
	    command -v "$$python" >/dev/null && found=$$("$$python" --version 2>&1); \
	  done; \
	  echo "contextlab needs Python 3.11 or later, or uv. Found: $$found." >&2; \
	  echo "Either install Python from https://www.python.org/downloads/ (or your system's packages)," >&2; \
	  echo "or install uv, which brings its own Python: https://docs.astral.sh/uv/" >&2; \
	  echo "Then run the same command again. Name a Python yourself with: make lab PYTHON=/path/to/python3" >&2; \
	  exit 1; \
	fi; \
	if [ -z "$$able" ]; then \
	  echo "$$new cannot make a virtual environment: its venv or ensurepip module is missing." >&2; \
	  echo "On Debian and Ubuntu: apt-get install python3-venv (as root). On Fedora: dnf install python3." >&2; \
	  echo "Or install uv, which needs neither: https://docs.astral.sh/uv/. Then run the same command again." >&2; \
	  exit 1; \
	fi; \
	echo "No uv found: uv $(UV_VERSION) goes into .uv (made with $$able)."; \
	"$$able" -m venv --clear .uv; \
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || { \
	  echo "uv could not be installed: is the Python package index reachable from here?" >&2; exit 1; }; \
	touch $@
