# `make` lists what there is. The first target that needs it sets up .venv; nothing has to be activated.
# PYTHON=/path/to/python chooses the interpreter; UV= (empty) takes venv and pip although uv is installed.

BIN    := .venv/bin
READY  := .venv/.ready
UV     ?= $(shell uv --version >/dev/null 2>&1 && command -v uv)
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do "$$p" -c '$(FITS)' 2>/dev/null && echo "$$p" && break; done)
FITS    = import sys$(if $(UV),,, ensurepip); sys.exit(sys.version_info < (3, 11))
CODE   := notebooks tests tdsp/__init__.py tdsp/runner/*.py setup.py

.DEFAULT_GOAL := help
.PHONY: help run test lint lab bench export clean moved

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY)  ## the five notebooks on the flights of 2013: verdict, pages, packaged model
	$(BIN)/tdsp run parameters/flights.yaml

test: $(READY)  ## the whole test suite
	$(BIN)/pytest

lint: $(READY)  ## ruff, mypy, and no outputs in notebooks
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/nbstripout --verify --keep-id --extra-keys metadata.language_info notebooks/*.ipynb notebooks/lib/*.ipynb

lab: $(READY)  ## JupyterLab with the first notebook open
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks/1_business_understanding.ipynb \
		$(if $(filter 0,$(shell id -u)),--allow-root)

bench: $(READY)  ## seconds beside a plain script; seconds and memory of millions of rows
	$(BIN)/python tests/bench.py
	$(BIN)/python tests/bench_scale.py 1 10 50
	$(BIN)/python tests/bench_scale.py postgresql
	$(BIN)/python tests/bench_trust.py 1 10 50

export: $(READY)  ## write tdsp/*.py from notebooks/lib
	@$(BIN)/python -c "$$EXPORT" notebooks/lib/*.ipynb

# nbdev-export would also rewrite the docstring of tdsp/__init__.py, from the long docstrings in tdsp/runner.
define EXPORT
import sys
from nbdev.export import nb_export
for notebook in sys.argv[1:]:
    nb_export(notebook, "tdsp")
endef
export EXPORT

clean:  ## remove .venv and caches; outputs/ stays
	rm -rf .venv build dist tdsp.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

# Installed scripts hold the path of their folder: a clone that was moved is set up anew.
SETTLED = [ "$$(cat $(READY) 2>/dev/null)" = "$$(pwd -P)" ]
ifneq "$(shell $(SETTLED) && echo yes)" "yes"
$(READY): moved
endif

$(READY): requirements.txt pyproject.toml setup.py
	@$(SETTLED) && $(BIN)/python -c 'import sys$(if $(UV),,, pip); sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| $(MAKE) --no-print-directory new-venv
	$(INSTALL) --require-hashes -r requirements.txt
	$(INSTALL) --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import lightgbm' 2>/dev/null || echo 'Without the OpenMP library LightGBM is left out of the candidates.' \
		'Debian, Ubuntu: apt install libgomp1; macOS: brew install libomp' >&2
	@pwd -P > $@

INSTALL = $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)

.PHONY: new-venv
new-venv:
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { echo 'tdsp needs Python 3.11 or newer$(if $(UV),, with its venv module);' \
		"found: $$(python3 --version 2>/dev/null || echo none). Debian, Ubuntu: apt install python3-venv; macOS:" \
		'brew install python; or name one: make PYTHON=/path/to/python ...' >&2; exit 2; }
	$(if $(UV),$(UV) venv --quiet --clear --python "$(PYTHON)" .venv,"$(PYTHON)" -m venv --clear .venv)
