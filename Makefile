# The two commands of a newcomer are `make up` and `make test`; `make help` names the others.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MODULES := cycling wire mqtt_link cycler_unit mn_manager web_server devops

.DEFAULT_GOAL := help
.PHONY: help up test test-embedded test-lab check format bench faults docs clean

help: ## name the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

up: $(VENV)/.installed ## run all of Cellyard on this machine
	@exec $(BIN)/python -m devops.up

# What `make up` needs: no compiler and no root.
$(VENV)/.installed: pyproject.toml requirements.txt | $(BIN)/python
	@echo "Installing Cellyard and what it needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[server,unit]'
	@touch $@

# What tests and checks need besides; mysqlclient is built here, hence compiler and headers (.ci/packages).
$(VENV)/.installed-dev: pyproject.toml requirements.txt .ci/packages | $(BIN)/python
	@bash .ci/packages
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.txt -e '.[server,unit,mysql,dev]'
	@touch $@ $(VENV)/.installed

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Cellyard needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 up" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv is missing: on Debian, apt install python3-venv" >&2; exit 1; }

test: $(VENV)/.installed-dev ## run all tests, then those with a database or a broker on MariaDB and Mosquitto too
	@failed=0; for backend in embedded lab; do bash .ci/tests $$backend || failed=1; done; exit $$failed

test-embedded: $(VENV)/.installed-dev
	@bash .ci/tests embedded

test-lab: $(VENV)/.installed-dev
	@bash .ci/tests lab

check: $(VENV)/.installed-dev ## format, lint, types, import contracts, migrations, generated files, containers
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash .ci/check

format: $(VENV)/.installed-dev ## put every file into the house format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev ## measure command, live delay, start, memory, CPU, reaction and jitter
	@$(BIN)/python -m tests.bench

faults: $(VENV)/.installed-dev ## kill, cut and break parts of a running stack
	@failed=0; \
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore=tests/faults/safety tests/faults || failed=1; \
	$(BIN)/python -m pytest -n 4 --dist loadgroup tests/faults/safety || failed=1; exit $$failed

docs: $(VENV)/.installed-dev ## write the generated files again: AsyncAPI, OpenAPI, SQL schema
	@bash .ci/docs

clean: ## remove the virtual environment and caches; the state folder stays
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
