# Every command sets up what it needs first; on a fresh machine `make demo` and `make test` are the only two to know.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: help setup demo test check bench bench-upstream clean

help:            ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/ -/'

setup: $(STAMP)  ## a virtual environment with Headwater and its tools

# torch first and alone: asked for together with others, its CUDA builds may come along.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet torch==2.13.0
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[factory,dev]'
	touch $(STAMP)

demo: $(STAMP)   ## build a factory on a simulated ads world and show what its embeddings gain
	$(BIN)/headwater demo --out demo

test: check      ## floors, format, lint, types, tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(STAMP)  ## floors, format, lint, types, budgets
	$(BIN)/lint-imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -s tests/house/test_budgets.py

bench: $(STAMP)  ## benchmarks, side by side with other libraries
	$(BIN)/python -m benchmarks.merging --sizes 1000000
	$(BIN)/python -m benchmarks.point_in_time
	$(BIN)/python -m benchmarks.index

# The environments of the libraries lie in .bench/; made once, in two minutes.
bench-upstream: $(STAMP)  ## upstream models beside other libraries, within half an hour: speed; quality where HEADWATER_DATA has KuaiRand and Gowalla
	$(BIN)/python -m benchmarks.upstream_peers.environments
	$(BIN)/python -m benchmarks.upstream_speed
	$(BIN)/python -m benchmarks.upstream_quality
	OMP_WAIT_POLICY=passive GOMP_SPINCOUNT=0 $(BIN)/python -m benchmarks.upstream_gowalla

clean:           ## remove what make made
	rm -rf $(VENV) .bench demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
