# Eight verbs, each of which works on a fresh machine with Python 3.11 or newer and make.
#   make demo   a small local model answers questions and is tuned     MODEL=smollm2-135m QUESTIONS=10
#   make test   the tests               (make coverage: with branch coverage)
#   make check  ruff, mypy, pyright  (--jobs=2: side by side)
#   make fuzz   the tests of tests/fuzz with many inputs each         FUZZ=22000 (46 tests: 1,000,000)
#   make torture  kills, full disks, bit flips, hostile text and code, then fuzz    TORTURE=120 (seconds a test)
#   make bench  the speed of calls and replays          BENCH=typed ARGS="--rows 20" (a script of bench/)
#   make docs   the site, into docs/_build
#   make screenshots  the screens of the web view, into docs/_build/screens (needs Chromium)

PYTHON ?= python3
MODEL ?= smollm2-135m
QUESTIONS ?=
FUZZ ?= 22000
TORTURE ?= 120

BIN := .venv/bin
STAMPS := .venv/.stamps
BENCH ?= speed

# Tests start hundreds of processes, each of which would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test coverage check lint mypy pyright fuzz torture bench docs screenshots
.DELETE_ON_ERROR:

demo: $(STAMPS)/local
	$(BIN)/python examples/pydocs/demo.py --model $(MODEL) $(if $(QUESTIONS),--questions $(QUESTIONS))

test: $(STAMPS)/test
	$(BIN)/python -m pytest -n auto --dist loadfile

coverage: $(STAMPS)/test
	$(BIN)/python -m pytest --cov=. --cov-branch --cov-report=term:skip-covered

check: lint mypy pyright

lint: $(STAMPS)/check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

mypy pyright: $(STAMPS)/check
	$(BIN)/$@

fuzz: $(STAMPS)/test
	LMFLOW_FUZZ=$(FUZZ) $(BIN)/python -m pytest -n auto --dist load tests/fuzz

torture: $(STAMPS)/test
	LMFLOW_TORTURE=$(TORTURE) $(BIN)/python -m pytest tests/torture tests/models/faults \
		tests/laws/test_linear_streams.py tests/laws/test_linear_readers.py \
		tests/models/transport/test_masking.py tests/cli/text/test_console.py \
		tests/library/agents/test_sandbox.py tests/library/agents/test_mcp_tools.py
	LMFLOW_FUZZ=$(FUZZ) $(BIN)/python -m pytest -n auto --dist load tests/fuzz

bench: $(STAMPS)/bench
	$(BIN)/python bench/$(BENCH).py $(ARGS)

docs: $(STAMPS)/docs
	$(BIN)/python -m sphinx -W --keep-going --quiet docs docs/_build
	$(BIN)/python docs/check_site.py docs/_build
	@echo "docs/_build/index.html"

screenshots: $(STAMPS)/test
	$(BIN)/python docs/pictures/screens.py $(ARGS)

# A stamp says that the extras were installed for the pyproject.toml of that time.
$(STAMPS)/local: EXTRAS = [local,optuna]
$(STAMPS)/test: EXTRAS = [local,test,notebook]
$(STAMPS)/check: EXTRAS = [local,test,check]
$(STAMPS)/bench: EXTRAS = [local,dense,optuna,ui,postgres]
$(STAMPS)/docs: EXTRAS = [docs]

$(STAMPS)/local $(STAMPS)/test $(STAMPS)/check $(STAMPS)/bench $(STAMPS)/docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable ".$(EXTRAS)"
	@mkdir -p $(STAMPS) && touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "lmflow needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.13 ..." >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { \
		rm -rf .venv; echo "$(PYTHON) can't make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
