# `make demo` and `make test` need Debian 12 with Python 3.11, git and make, and bring the rest themselves.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
BIN := .venv/bin
.PHONY: install demo test check sanitize bench down reset lock

install:
	@platform/stack/install.sh

demo: install
	@$(BIN)/streamgauge demo

# Two files at a time, each with servers of its own; what kills workers under load, alone. ARGS=tests/unit runs a part.
ALONE := tests/integration/test_exactly_once.py tests/integration/test_worker_outages.py
test: install
	@platform/stack/install_test_tools.sh
ifdef ARGS
	@$(BIN)/pytest $(ARGS)
else
	@$(BIN)/pytest $(ALONE)
	@$(BIN)/pytest -n 2 --dist loadfile $(ALONE:%=--ignore=%)
endif

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
