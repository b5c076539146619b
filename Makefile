# `make demo` and `make test` need Debian 12 with Python 3.11, git and make, and bring the rest themselves.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
BIN := .venv/bin
# Tests start hundreds of processes: none of them should compile the code anew.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: install demo test simulate check sanitize bench down reset lock

install:
	@platform/stack/install.sh

demo: install
	@$(BIN)/streamgauge demo

# ARGS=tests/unit runs a part.
test: install
	@platform/stack/install_test_tools.sh
ifdef ARGS
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)
else
	@tests/run.sh
endif

# SEEDS=10000 runs so many seeds, SEED=7 one of them, BUGS=1 looks for the planted bugs.
SEEDS ?= 1000
simulate: install
	@POLARS_MAX_THREADS=1 $(BIN)/python -m tests.simulator $(if $(BUGS),--bugs,$(if $(SEED),--seed $(SEED),--seeds $(SEEDS)))

check: install
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright
	@$(BIN)/lint-imports
	@env -u DAGSTER_HOME PYTHONWARNINGS=ignore $(BIN)/dagster definitions validate -m definitions

sanitize: install
	@tests/sanitize.sh

bench: install
	@$(BIN)/python -m bench

down:
	@$(BIN)/streamgauge stack down

reset:
	@$(BIN)/streamgauge stack reset

lock:
	@$(BIN)/uv pip compile pyproject.toml --all-extras --generate-hashes --no-header --no-emit-index-url \
		--python-version 3.11 --quiet -o requirements.lock
