# On a fresh machine with Python >= 3.11: `make demo` trains PPO on CartPole, `make test` runs the tests.
# Another interpreter: make PYTHON=python3.12 demo

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test verify walkthrough lint types imports check bench book clean

help:
	@echo "make demo     train PPO on CartPole-v1, evaluate it, leave a run in runs/"
	@echo "make test     run the tests"
	@echo "make verify   run the slow tests: learning and endurance"
	@echo "make walkthrough   install into a clean environment, run every command of README.md; the custom environment's walk"
	@echo "make check    tests, lint, types and import contracts"
	@echo "make bench    measure speed against other libraries, write docs/results/speed.md"
	@echo "make book     compute the figures of Sutton & Barto, write docs/book; fails where a number is off"
	@echo "make clean    remove the virtual environments and every cache in this folder"

# Each stamp is written last, so that an interrupted installation is taken up again.
$(VENV)/stamp-python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "Operant needs Python 3.11 or newer; there is no '$(PYTHON)' here. Name one: make PYTHON=python3.11 demo" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Operant needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1). Name one: make PYTHON=python3.11 demo" >&2; exit 1; }
	@echo "Creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/stamp-run: $(VENV)/stamp-python pyproject.toml constraints.txt
	@echo "Installing Operant (the first time takes a minute or two)"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/stamp-test: $(VENV)/stamp-python pyproject.toml constraints.txt
	@echo "Installing Operant and what its tests need (the first time takes some minutes)"
	@$(INSTALL) --editable '.[test]'
	@touch $@

$(VENV)/stamp-dev: $(VENV)/stamp-test
	@echo "Installing the linters"
	@$(INSTALL) --editable '.[test,dev]'
	@touch $@

demo: $(VENV)/stamp-run
	$(BIN)/operant train ppo CartPole-v1

test: $(VENV)/stamp-test
	$(BIN)/python -m pytest -n 2

verify: $(VENV)/stamp-test
	$(BIN)/python -m pytest -n 2 -m slow

walkthrough: $(VENV)/stamp-run
	$(BIN)/python examples/first_ten_minutes.py
	$(BIN)/python examples/custom_environment/walk.py

lint: $(VENV)/stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/stamp-dev
	$(BIN)/pyright

imports: $(VENV)/stamp-dev
	$(BIN)/lint-imports

check: test lint types imports

bench: $(VENV)/stamp-run
	$(BIN)/python benchmarks/speed.py --markdown docs/results/speed.md

book: $(VENV)/stamp-run
	$(BIN)/python -m book

clean:
	rm -rf $(VENV) benchmarks/.peers build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find operant book tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
