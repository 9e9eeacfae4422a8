# `python3 manage.py demo` and `python3 manage.py test` need no make; this is for developers.
BIN := $(if $(wildcard .venv/bin/python),.venv/bin/,)
PYTHON := $(if $(BIN),$(BIN)python,python3)
TEMPLATES := $(shell find templates stores -name '*.html' 2>/dev/null)

.PHONY: install format check quick test run worker

install:
	$(PYTHON) manage.py test --version

format:
	$(BIN)ruff check --fix --select I .
	$(BIN)ruff format .
	$(if $(TEMPLATES),$(BIN)djade --target-version 5.2 $(TEMPLATES))

check:
	$(BIN)ruff check .
	$(BIN)ruff format --check .
	$(BIN)mypy portal stores bench manage.py
	$(BIN)lint-imports
	$(if $(TEMPLATES),$(BIN)djade --check --target-version 5.2 $(TEMPLATES))
	$(if $(TEMPLATES),$(BIN)djlint --lint --quiet $(TEMPLATES))
	$(PYTHON) manage.py check
	$(PYTHON) manage.py makemigrations --check --dry-run
	@# Names and versions only: an address or a path would bind everybody to one computer.
	! grep -nE '\[| @ |/|^-' constraints.txt

# Two minutes on two cores; the whole takes ten times as long.
quick:
	$(PYTHON) manage.py test -q -m "not slow"

test:
	$(PYTHON) manage.py test

run:
	$(PYTHON) manage.py runserver

worker:
	$(PYTHON) manage.py worker
