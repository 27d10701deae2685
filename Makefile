# Two commands matter: `make demo` and `make test`. Both set up .venv on their first call and never again.
# PYTHON=/path/to/python3.11 names another interpreter; PIP_ARGS goes to pip. `make wheel` needs no .venv.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# It would let cd go elsewhere.
unexport CDPATH

# Images of Python often set it; a test run starts Python some thousand times, which would compile everything each time.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?=
PIP_ARGS ?=
WORKERS ?= auto
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
PARALLEL = -n $(WORKERS) --dist worksteal

# Sets `found` to the first of these interpreters whose sys.exit takes the expression as 0, or to PYTHON alone.
define find_python
found=""; for candidate in "$(PYTHON)" $(1); do \
  [ -n "$$candidate" ] || continue; \
  if "$$candidate" -c 'import importlib.util, sys; sys.exit($(2))' 2>/dev/null; then found="$$candidate"; break; fi; \
  [ "$$candidate" != "$(PYTHON)" ] || break; \
done
endef

.PHONY: help setup demo demo-client image load-test test test-image protos worker-requirements lock licences wheel coverage check format bench bench-model bench-server bench-load bench-results bench-report bench-json bench-score bench-gate bench-capacity bench-overload bench-slo bench-attacks bench-soak fuzz accounting kills clean

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-20s %s\n", $$1, $$2}' Makefile

setup: $(STAMP) ## the environment in .venv

# The interpreter is looked for only when there is something to set up.
$(STAMP): requirements/dev.txt requirements/otava.txt pyproject.toml
	@$(call find_python,python3.11 python3 python,sys.version_info[:2] != (3, 11)); \
	if [ -z "$$found" ]; then \
	  echo "make: Python 3.11 is needed (TensorFlow 2.15, the last with tf.estimator) and $(if $(PYTHON),$(PYTHON) is not it,was not found); install python3.11 and its venv module, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "make: $$found has no venv module; install it (Debian: apt-get install python3.11-venv)" >&2; exit 2; fi; \
	echo "Setting up $(VENV) with $$("$$found" --version) (once; about 600 MB to download)"; \
	"$$found" -m venv $(VENV)
	@$(PIP) --require-hashes -r requirements/dev.txt
	@# It asks for numpy 2.2, which cannot live beside TensorFlow 2.15; the one module used here runs with 1.26.
	@$(PIP) --require-hashes --no-deps -r requirements/otava.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## the whole job once, small, on the embedded server
	@$(BIN)/bertbench demo

.PHONY: examples
examples: $(STAMP) ## makes results/example again: some 15 minutes on an idle machine
	@$(BIN)/python -m benchmarks.make_examples

image: ## the container images, with their bills of materials in build/images
	@docker/build.sh

load-test: ## Serving, a Locust master and workers in containers: MODEL_DIR=my-model make load-test
	@docker/load-test.sh "$${MODEL_DIR:-}" $(SCENARIOS)

# WORKERS=0 runs them one after the other; tests/conftest.py says how many "auto" are.
test: $(STAMP) ## every test
	@$(BIN)/python -m pytest $(PARALLEL)

test-image: $(STAMP) ## builds the worker's image, on a Docker Engine, and tests it
	@BERTBENCH_TEST_IMAGE=1 $(BIN)/python -m pytest tests/docker/test_images.py

# TESTS=tests/stats measures a part; the figure is that of the whole.
coverage: $(STAMP) ## branches of bench/ that the tests run, subprocesses included; fails under 90 %
	@rm -rf .coverage && mkdir .coverage
	@$(BIN)/coverage run -m pytest $(PARALLEL) $(TESTS)
	@$(BIN)/coverage combine --quiet && $(BIN)/coverage report

check: $(STAMP) ## formatting, lint, strict types
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

format: $(STAMP) ## put the formatting right
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

protos: $(STAMP) ## compile the messages of bench/serving/messages
	@cd bench/serving/messages && $(CURDIR)/$(BIN)/python -m grpc_tools.protoc -I . --descriptor_set_out=serving.binpb serving.proto

worker-requirements: $(STAMP) ## what a Locust worker needs, into requirements/worker.txt
	@$(BIN)/python requirements/worker_requirements.py

lock: $(STAMP) ## the lock files of `make setup`, by constraints.txt and the package index
	@$(BIN)/python -m venv $(VENV)/lock && $(VENV)/lock/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) packaging uv==0.13.9
	@$(VENV)/lock/bin/python requirements/lock.py

licences: $(STAMP) ## the licences of what `make setup` installs, into docs/reference/licences.md
	@$(BIN)/python -m venv $(VENV)/licences && $(VENV)/licences/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt pip-licenses
	@$(BIN)/python requirements/licences.py $(VENV)/licences/bin/pip-licenses

# The build fetches what it needs, setuptools, into an environment of its own.
wheel: ## the package as a wheel, into dist/; by any Python from 3.11 with pip
	@$(call find_python,python3 python python3.13 python3.12 python3.11 $(BIN)/python,sys.version_info < (3, 11) or not importlib.util.find_spec("pip")); \
	if [ -z "$$found" ]; then \
	  echo "make: Python 3.11 or later with pip is needed and $(if $(PYTHON),$(PYTHON) is not it,was not found); activate an environment that has it, or name one: make wheel PYTHON=/path/to/python3" >&2; exit 2; fi; \
	"$$found" -m pip wheel --quiet --disable-pip-version-check $(PIP_ARGS) --no-deps --wheel-dir dist .

demo-client: $(STAMP) ## what clients of the demo model need, into the package
	@$(BIN)/python -m bench.bert.demo.client_files

bench: bench-model bench-server bench-json bench-load bench-results bench-report ## all benchmarks, one after the other

bench-model bench-server bench-json bench-load bench-results bench-report bench-score bench-gate bench-capacity bench-overload bench-slo bench-attacks: bench-%: $(STAMP)
	@$(BIN)/python -m benchmarks.bench_$*

bench-model: bench-score

# COUNT=100 is a short one; each fault is printed with what makes it again.
COUNT ?= 10000
REQUESTS ?= 500000

fuzz: $(STAMP) ## files and requests from outside, broken: COUNT=10000 of each kind, REQUESTS=500000 of each protocol
	@$(BIN)/python -m benchmarks.fuzz.files --count $(COUNT)
	@$(BIN)/python -m benchmarks.fuzz.rest --requests $(REQUESTS)
	@$(BIN)/python -m benchmarks.fuzz.grpc --requests $(REQUESTS)

MINUTES ?= 30

bench-soak: $(STAMP) ## half an hour of load and a day of records, and what grows meanwhile: MINUTES=30
	@$(BIN)/python -m benchmarks.bench_soak --minutes $(MINUTES)

# ONLY=rest/run is a part of the cases.
accounting: $(STAMP) ## every due request counted once, whatever fails: ONLY=rest/run/answer-half is one case
	@$(BIN)/python -m benchmarks.accounting --only "$(ONLY)"

# Each fault is printed with the seed that makes it again.
kills: COUNT = 500
kills: $(STAMP) ## every command killed at random moments: COUNT=500 kills; nothing half reads as whole, nothing remains
	@$(BIN)/python -m benchmarks.kills --count $(COUNT)

clean: ## remove the environment and caches
	@rm -rf $(VENV) dist .coverage .mypy_cache .ruff_cache .pytest_cache *.egg-info
	@find bench benchmarks requirements scenarios tests -name __pycache__ -prune -exec rm -rf {} +
