# bptools: make without a target checks everything that a commit must pass.
#
# make venv needs Python 3.10 or newer, make and pip, and puts every command with all that the CPU needs
# into .venv/bin. Python 3.11 is preferred where it is found: constraints.txt pins every package for it.
#
#   make venv PYTHON=python3.12                another Python (then only torch is pinned)
#   make venv PIP_ARGS='--index-url URL'       handed to every pip install, e.g. for a torch without CUDA
#   make demo DATA=my.jsonl                    your own chats in place of made-up ones
#   make test ARGS='-k sharegpt -x'            handed to pytest, tests.bench, tests.chaos and tests.golden
#   make install PREFIX=/usr/local EXTRAS=hf   commands, man pages and completions for everyday use

SHELL    := /bin/sh
VENV     := .venv
PREFIX   ?= $(HOME)/.local
# A shell that is not bash hands PREFIX=~/x on as it stands.
override PREFIX := $(patsubst ~/%,$(HOME)/%,$(PREFIX))
EXTRAS   ?=
PIP_ARGS ?=
ARGS     ?=
PYTHON   ?=
PY       := $(VENV)/bin/python
PEERS    := .bench/peers/bin/python
# A process for each core, and each keeps to its own (tests/conftest.py); ARGS=-n0 for one, with a debugger say.
PYTEST   := -m pytest -n auto --maxprocesses 8 --dist worksteal
PIP      := -m pip --disable-pip-version-check install -qq $(PIP_ARGS)
HOME_DIR  = $(PREFIX)/lib/bptools
# What make install puts under share/, FROM:TO.
SHARED   := man/man1:man/man1 man/man5:man/man5 man/man7:man/man7 completions/bash:bash-completion/completions \
            completions/zsh:zsh/site-functions completions/fish:fish/vendor_completions.d

.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := check
.PHONY: check help venv demo test test-all lint format types docs docs-check cases bench bench-peers chaos install uninstall clean FORCE

# $(call environment,DIR): a virtual environment in DIR and the constraints that hold for its Python.
# Some systems split ensurepip off; pip can then install itself from outside.
define environment
python="$(PYTHON)"; \
for candidate in python3.11 python3; do \
  [ -n "$$python" ] || ! "$$candidate" -c '' 2>/dev/null || python="$$candidate"; \
done; \
"$${python:-python3}" -c 'import sys; sys.exit(sys.version_info < (3, 10) and "make: bptools needs Python 3.10 or newer; name one with PYTHON=")'; \
"$(1)/bin/python" -m pip --version >/dev/null 2>&1 && { [ -z "$(PYTHON)" ] || \
[ "$$("$(1)/bin/python" -V)" = "$$("$$python" -V)" ]; } || "$$python" -m venv --clear "$(1)" >/dev/null 2>&1 || { \
  "$$python" -m venv --clear --without-pip "$(1)"; \
  "$$python" -m pip --python "$(1)/bin/python" install -qq $(PIP_ARGS) pip; }; \
if "$(1)/bin/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then \
  cp constraints.txt "$(1)/constraints.txt"; \
else \
  echo "make: constraints.txt is made for Python 3.11; this one gets only torch pinned" >&2; \
  grep '^torch==' constraints.txt >"$(1)/constraints.txt"; \
fi
endef

# Another PYTHON than that of the environment makes it anew.
ifneq ($(PYTHON),)
ifneq ($(shell "$(PYTHON)" -V 2>&1),$(shell $(PY) -V 2>&1))
$(VENV)/.stamp: FORCE
endif
endif
FORCE:

check: lint types test docs-check  ## what plain make does

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "make %-12s %s\n", $$1, $$2 }'

venv: $(VENV)/.stamp  ## .venv with every command and what the CPU needs
	@:

$(VENV)/.stamp: pyproject.toml constraints.txt
	@set -eu; $(call environment,$(VENV)); \
	extras=train,bnb,redact,language,gguf,gpu,dev; [ "$$(uname -sm)" != "Darwin arm64" ] || extras="$$extras,mlx"; \
	echo "make: installing bptools[$$extras] into $(VENV); takes minutes the first time"; \
	$(PY) $(PIP) -c $(VENV)/constraints.txt torch hatchling editables; \
	$(PY) $(PIP) -c $(VENV)/constraints.txt --no-build-isolation -e ".[$$extras]"; \
	touch $@

demo: venv  ## raw chats to a model that answers, in build/demo; DATA=FILE takes your own
	@$(PY) -m bptools._dev.demo build/demo $(if $(DATA),--data $(DATA)) $(ARGS)

test: venv  ## the fast tests
	@$(PY) $(PYTEST) -m "not slow and not gpu" $(ARGS)

test-all: venv  ## what make test leaves out: slow ones, and those that need a GPU where there is one
	@$(PY) $(PYTEST) -m "slow or gpu" $(ARGS) || [ $$? -eq 5 ]

lint: venv  ## ruff, and what it cannot see
	@$(VENV)/bin/ruff check --quiet --output-format concise .
	@$(VENV)/bin/ruff format --check --quiet --output-format concise . >&2 || { echo "make: make format does it" >&2; exit 1; }
	@! grep -rnE --include='*.py' '\.splitlines\(|sys\.std(in|out)\b' bptools/commands bptools/chat || \
	  { echo "make: data is read and written as bytes through bptools.core" >&2; exit 1; }

format: venv  ## let ruff format the code
	@$(VENV)/bin/ruff check --quiet --fix .
	@$(VENV)/bin/ruff format --quiet .

types: venv  ## mypy
	@$(VENV)/bin/mypy --no-error-summary

docs: venv  ## write bin/, man/ and completions/ anew from the commands themselves
	@$(PY) -m bptools._dev.docs

docs-check: venv  ## fail when make docs would change something
	@$(PY) -m bptools._dev.docs --check

cases: venv  ## rewrite what the golden cases expect; review the diff
	@$(PY) -m tests.golden $(ARGS)

bench: venv  ## measure against peers; DATA=FILE.jsonl adds your own
	@$(PY) -m tests.bench $(if $(wildcard $(PEERS)),--peers $(PEERS)) $(if $(DATA),--data $(DATA)) $(ARGS)

bench-peers:  ## install the peers of make bench in an environment of their own
	@"$${PYTHON:-python3}" -m venv .bench/peers && $(PEERS) $(PIP) -r tests/bench/peers.txt && \
	$(PEERS) $(PIP) --no-deps text-dedup==0.4.0

chaos: venv  ## full-size fuzz and kill matrices
	@$(PY) -m tests.chaos $(ARGS)

install:  ## commands, man pages and completions under PREFIX
	@set -eu; mkdir -p "$(HOME_DIR)" "$(PREFIX)/bin"; $(call environment,$(HOME_DIR)); \
	"$(HOME_DIR)/bin/python" $(PIP) -c "$(HOME_DIR)/constraints.txt" --force-reinstall --no-deps .; \
	"$(HOME_DIR)/bin/python" $(PIP) -c "$(HOME_DIR)/constraints.txt" ".$(if $(EXTRAS),[$(EXTRAS)])"; \
	for command in bin/*; do ln -sf "../lib/bptools/$$command" "$(PREFIX)/$$command"; done; \
	for pair in $(SHARED); do \
	  mkdir -p "$(PREFIX)/share/$${pair#*:}"; \
	  cp "$${pair%:*}"/* "$(PREFIX)/share/$${pair#*:}/"; \
	done; \
	echo "installed under $(PREFIX)"

uninstall:  ## take away what make install put under PREFIX
	@set -eu; for pair in $(SHARED); do \
	  for file in "$${pair%:*}"/*; do rm -f "$(PREFIX)/share/$${pair#*:}/$${file##*/}"; done; \
	done; \
	for command in bin/*; do rm -f "$(PREFIX)/$$command"; done; \
	rm -rf "$(HOME_DIR)"

clean:  ## what tests and tools leave behind; .venv stays
	@rm -rf build dist .pytest_cache .hypothesis .mypy_cache .ruff_cache .bench
	@find bptools tests -name __pycache__ -type d -prune -exec rm -rf {} +
