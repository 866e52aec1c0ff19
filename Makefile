# Every target does its own set-up in .venv; nothing has to be installed by hand but Python and make.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTEST := $(BIN)/python -m pytest --durations 15
# The first of these that is at least 3.11 and can make environments; override: make PYTHON=/path/to/python3
PYTHON := python3.14 python3.13 python3.12 python3.11 python3

.DEFAULT_GOAL := help
.PHONY: help quickstart test check lint test-marked oracles peer-oracles clients bench format lock clean
.DELETE_ON_ERROR:

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

quickstart: $(VENV)/.installed-runtime  ## install, then run the whole loop on the embedded model and data
	$(BIN)/accord quickstart

# Two processes, for two cores and 8 GB of memory; each takes what is left when the other is slow.
test: $(VENV)/.installed-dev  ## install, then run the default tests: fast, offline, no GPU
	$(PYTEST) --numprocesses 2 --dist worksteal

check: lint test  ## what CI runs: ruff, mypy, import contracts, default tests (size limits are tests)

lint: $(VENV)/.installed-dev  ## ruff (rules and format), mypy --strict on src, import contracts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Tests whose server, browser or device is absent skip themselves.
test-marked: $(VENV)/.installed-dev  ## the tests the default run leaves out, as far as this machine can; CI runs them too
	$(PYTEST) -m "slow or gpu or postgres or browser or oracle" --timeout 1800

# Their packages are kept out of .venv: one is under the GPL, one asks for what it does not use.
ORACLES := build/oracles
oracles: $(ORACLES)/.installed  ## annotation statistics beside crowd-kit, choix, krippendorff and statsmodels
	$(ORACLES)/bin/python -m pytest -m oracle tests/annotation

$(ORACLES)/.installed: $(VENV)/.created benchmarks/oracles/requirements-annotation.txt
	$(BIN)/python -m venv --clear $(ORACLES)
	$(ORACLES)/bin/python -m pip --disable-pip-version-check install --no-deps -r benchmarks/oracles/requirements-annotation.txt
	touch $@

# What these clients pin, or ask for, is kept out of .venv too.
CLIENTS := build/clients
clients: $(VENV)/.installed-dev $(CLIENTS)/.installed  ## clients of others, unchanged, before a running server
	ACCORD_TEST_CLIENTS=$(CURDIR)/$(CLIENTS)/bin/python $(PYTEST) -m clients tests/serving/test_real_clients.py

$(CLIENTS)/.installed: $(VENV)/.created tests/serving/clients/requirements.txt
	$(BIN)/python -m venv --clear $(CLIENTS)
	$(CLIENTS)/bin/python -m pip --disable-pip-version-check install -r tests/serving/clients/requirements.txt
	touch $@

# The peers have environments of their own. ACCORD_DATA names the folder of real rows. Some works only:
# make bench BENCH_ARGS="--only sft dpo"; does everything run: make bench BENCH_ARGS=--quick.
BENCH := build/bench
BENCH_ARGS :=
bench: $(BENCH)/trl-1.16.0/.installed $(BENCH)/trl-1.12.0/.installed $(BENCH)/vllm/.installed  ## the same work beside TRL, generate and vLLM, interleaved (needs ACCORD_DATA)
	$(BENCH)/trl-1.16.0/bin/python -m benchmarks.peers.run --trl $(BENCH)/trl-1.16.0/bin/python \
	    --trl_old $(BENCH)/trl-1.12.0/bin/python --vllm $(BENCH)/vllm/bin/python $(BENCH_ARGS)

$(BENCH)/vllm/.installed: $(VENV)/.created benchmarks/peers/requirements-vllm.txt requirements.lock
	$(BIN)/python -m venv --clear $(BENCH)/vllm
	$(BENCH)/vllm/bin/python -m pip --disable-pip-version-check install "$$(grep '^torch==' requirements.lock)" setuptools==78.1.1
	$(BENCH)/vllm/bin/python -m pip --disable-pip-version-check install --no-deps -r benchmarks/peers/requirements-vllm.txt
	touch $@

$(BENCH)/trl-%/.installed: $(VENV)/.created requirements.lock
	$(BIN)/python -m venv --clear $(BENCH)/trl-$*
	$(BENCH)/trl-$*/bin/python -m pip --disable-pip-version-check install -c requirements.lock torch setuptools
	$(BENCH)/trl-$*/bin/python -m pip --disable-pip-version-check install -c requirements.lock --no-build-isolation -e . trl==$*
	touch $@

peer-oracles: $(BENCH)/trl-1.16.0/.tests $(BENCH)/trl-1.12.0/.tests $(BENCH)/vllm/.tests  ## objectives beside TRL's own code, the local sampler beside vLLM
	$(BENCH)/trl-1.16.0/bin/python -m pytest -m oracle tests/objectives/test_against_trl.py
	$(BENCH)/trl-1.12.0/bin/python -m pytest -m oracle tests/objectives/test_ppo_against_trl.py
	$(BENCH)/vllm/bin/python -m pytest -m oracle --timeout 1800 tests/engine/test_vllm_engine.py tests/engine/test_contract.py tests/commands/test_export.py

$(BENCH)/%/.tests: $(BENCH)/%/.installed
	$(BENCH)/$*/bin/python -m pip --disable-pip-version-check install -c requirements.lock pytest pytest-timeout
	touch $@

format: $(VENV)/.installed-dev  ## let ruff fix and format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# torch stays at its locked version; to move it, edit its line first. Labels such as +cpu and the CUDA
# packages, which torch pins itself, are left out, so that the lock serves every platform.
lock: $(VENV)/.created  ## resolve all but torch to the newest versions, write requirements.lock
	$(BIN)/python -m venv --clear build/lock
	build/lock/bin/python -m pip --disable-pip-version-check install "$$(grep '^torch==' requirements.lock)" setuptools -e '.[dev]'
	build/lock/bin/python -m pip freeze --all --exclude pip --exclude-editable > build/freeze.txt
	{ echo '# Versions known to work together; written by `make lock`, used with pip -c.'; \
	  sed -E -e '/^(cuda-|nvidia-|triton)/d' -e 's/\+[A-Za-z0-9.]+$$//' build/freeze.txt; } > requirements.lock

clean:  ## remove .venv, caches and build files; keeps runs/
	rm -rf $(VENV) build dist src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# A stamp is written only after its step succeeded, so an interrupted install starts again.
$(VENV)/.created:
	@for python in $(PYTHON); do \
	    if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
	        echo "$$python -m venv $(VENV)"; \
	        "$$python" -m venv --clear $(VENV) && touch $@; exit; \
	    fi; \
	done; \
	echo "error: no Python >= 3.11 with the venv and ensurepip modules among: $(PYTHON)" >&2; \
	echo "Install one (Debian, Ubuntu: python3 and python3-venv) or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1

# torch comes first, alone: it is the large download, and an interrupted install keeps it. Which build
# (CPU or CUDA) pip takes is up to the package index it is configured with; either one works.
# setuptools builds this project, so that the install needs no second, isolated environment.
$(VENV)/.installed-runtime: $(VENV)/.created pyproject.toml requirements.lock
	$(PIP) install -c requirements.lock torch setuptools
	$(PIP) install -c requirements.lock --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-runtime
	$(PIP) install -c requirements.lock --no-build-isolation -e '.[dev]'
	touch $@
