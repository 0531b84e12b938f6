# The commands of the README. Each sets up what it needs first; a second run finds that done.

# Ordinary users often have no sbin on their PATH, where mkfs and losetup live.
export PATH := $(PATH):/usr/sbin:/sbin
PY := .venv/bin/python

.PHONY: test demo bench check clean setup setup-check

# make test T="tests/install -k upgrade" runs a part, in one process; everything runs in several.
test: setup
	@$(PY) -m pytest $(or $(T),-n $$(($$(nproc) + 1)) --maxprocesses 4 --dist loadfile --no-loadscope-reorder)

demo: setup
	@$(PY) -m storpool_addon.lab.demo

bench: setup
	@$(PY) -m bench

check: setup-check
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m mypy install.py

setup:
	@.ci/setup test

setup-check:
	@.ci/setup test check

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
