# The few commands of the project. VENV may name another environment: make test VENV=/path/to/venv
VENV ?= .venv
PYTHON ?= python3
VLLM_VENV ?= .venv-vllm
BIN := $(VENV)/bin
export HF_HUB_OFFLINE = 1

.PHONY: demo bench bench-table test test-fast test-vllm quality style container neighbours compatibility lock licences

demo: $(VENV)/.installed  ## the whole experiment on the embedded, simulated demo (10 minutes on 2 cores)
	$(BIN)/llamafactory-gaze demo

test: $(VENV)/.installed  ## all tests, several files at a time, each in one thread: more would wait for one another
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/.installed  ## the tests that take no minutes
	$(BIN)/python -m pytest -m "not slow"

test-vllm:  ## vLLM against transformers, in an environment of its own (docs/vllm.md)
	$(VLLM_VENV)/bin/python -m pytest tests/vllm

bench: $(VENV)/.installed  ## all benchmarks, or one: make bench NAME=training OPTIONS="--patches 256"
	$(BIN)/python -m benchmarks $(NAME) $(OPTIONS)

bench-table: $(VENV)/.installed  ## the results of the benchmarks into docs/performance.md
	$(BIN)/python -m benchmarks --table --into docs/performance.md

neighbours: $(VENV)/.installed  ## LLaMA-Factory's tests, transformers' tests: LLAMAFACTORY=checkout, TRANSFORMERS=checkout
	$(if $(LLAMAFACTORY),$(BIN)/python -m tests.neighbours.compare_llamafactory $(LLAMAFACTORY))
	$(if $(TRANSFORMERS),$(BIN)/python -m tests.neighbours.compare_transformers $(TRANSFORMERS))

compatibility: $(VENV)/.installed  ## the oldest and newest supported versions, into docs/compatibility.md (10 minutes)
	$(BIN)/python -m tests.compatibility.run

quality: $(VENV)/.installed  ## format, lint and types, as pre-commit checks them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck docker/*.sh .ci/run

container: $(VENV)/.installed  ## the steps of the Dockerfile as far as they go without Docker (docs/container.md)
	DEVICE=gpu VENV=$(VENV) docker/install.sh resolve
	$(BIN)/python -m supply.lock check
	$(BIN)/python -m supply.licences check
	docker/rehearse.sh $(VENV)

lock: $(VENV)/.installed  ## docker/lock.txt and docker/lock-dev.txt anew from setup.py and docker/constraints.txt, in seconds
	$(BIN)/python -m supply.lock make

licences: $(VENV)/.installed  ## docs/licences.md anew from the packages that are installed
	$(BIN)/python -m supply.licences make

style: $(VENV)/.installed  ## mend format and lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Each file of a package is compared with its hash in the locks. torch's are not in them: docs/container.md says why.
$(VENV)/.installed: setup.py docker/constraints.txt docker/lock.txt docker/lock-dev.txt
	$(PYTHON) -m venv $(VENV)
	VENV=$(VENV) TORCH_INDEX= docker/install.sh locked lock-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m pip check
	touch $@
