# Two commands: `make sweep` for a first look, `make test` for everything that must hold.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: sweep test test-cluster lint browser shellcheck clean help

help:
	@echo "make sweep   set up .venv and run the quickstart space on embedded data"
	@echo "make test    set up .venv and run ruff, mypy and pytest (with Chromium for the report)"
	@echo "make test-cluster  the tests on several loopback nodes"
	@echo "make clean   remove .venv and what tools cached (never runs/)"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "lenet-sweep needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Say: make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (once; torch is large, this takes a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

sweep: $(STAMP)
	@$(BIN)/sweep run quickstart

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# The report is tested in Chromium. Without it those tests say that they are skipped, and the rest runs.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1 \
	       && echo "Installed chromium, to test the report in."; } \
	  || echo "No chromium and chromedriver here (Debian: apt-get install chromium chromium-driver): the report is not tested in a browser."

# So is the batch script in deploy/.
shellcheck:
	@command -v shellcheck >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends shellcheck; } >/dev/null 2>&1 \
	       && echo "Installed shellcheck, to test the batch script with."; } \
	  || echo "No shellcheck here (Debian: apt-get install shellcheck): the batch script in deploy/ is not looked through."

# Two files at a time: half of what the tests wait for is Ray and other processes that start.
test: lint browser shellcheck
	@$(BIN)/pytest -n 2 --dist loadfile

# Several nodes on loopback, which are killed and join: they need the machine for themselves.
test-cluster: $(STAMP)
	@$(BIN)/pytest -m cluster tests/sweep/execution/test_cluster.py

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
