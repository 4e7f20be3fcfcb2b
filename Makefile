# Two commands: `make sweep` runs a first sweep, `make test` runs all checks.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: sweep docs test test-slow test-cluster lint browser shellcheck clean help

help:
	@echo "make sweep   set up .venv and run the quickstart space on synthetic data"
	@echo "make test    set up .venv and run ruff, mypy and pytest (the report is tested in Chromium)"
	@echo "make test-slow     short forms of the soak test and of long benchmarks"
	@echo "make test-cluster  run the tests that need several loopback nodes"
	@echo "make docs    write the documentation as pages to site/"
	@echo "make clean   remove .venv and tool caches (never runs/)"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "lenet-sweep needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (once; torch is large, this takes a few minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

sweep: $(STAMP)
	@$(BIN)/sweep run quickstart

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# The report is tested in Chromium. Without Chromium these tests are skipped with a message.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium chromium-driver; } >/dev/null 2>&1 \
	       && echo "Installed chromium for the tests of the report."; } \
	  || echo "chromium and chromedriver not found (Debian: apt-get install chromium chromium-driver): the browser tests of the report are skipped."

# The scripts in deploy/ are tested with shellcheck. Without shellcheck this test is skipped.
shellcheck:
	@command -v shellcheck >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	       && { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends shellcheck; } >/dev/null 2>&1 \
	       && echo "Installed shellcheck for the tests of the scripts in deploy/."; } \
	  || echo "shellcheck not found (Debian: apt-get install shellcheck): the shellcheck test of deploy/ is skipped."

# One process has the Ray that all tests share (tests/conftest.py). A third one for two cores: some tests wait for others.
test: lint browser shellcheck
	@$(BIN)/pytest -n 3 --dist loadfile

# Short forms of the soak test and of benchmarks that start many processes.
test-slow: $(STAMP)
	@$(BIN)/pytest -m slow

# Several nodes on loopback, which join and are killed. These tests need the machine for themselves.
test-cluster: $(STAMP)
	@$(BIN)/pytest -m cluster tests/sweep/execution

# The documentation as pages, with the reference of all commands. Warnings, such as a broken link, are errors.
docs: $(VENV)/.installed-docs
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

$(VENV)/.installed-docs: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) build site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
