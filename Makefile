# One verb per chore. `make demo` and `make test` set everything up from nothing: system packages, a virtual
# environment in .venv, the locked Python packages. TORCH may be any pip arguments that bring torch 2.13.0.

PYTHON ?= python3.11
VENV   ?= .venv
DEMO   ?= demo
TORCH  ?= torch==2.13.0
BIN    := $(VENV)/bin

# Numeric libraries on more threads than cores fight each other; no model hub is asked, ever.
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help setup clients demo test test-all check format bench lock clean

help:  ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.ready  ## the virtual environment with everything in it

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

# Clients of others that the tests run against the gateway; apart, so that they change none of our libraries.
clients: .clients/.ready  ## clients of others, for the tests

.clients/.ready: tests/service/clients/requirements.txt tests/service/clients/package-lock.json
	$(PYTHON) -m venv .clients/python
	.clients/python/bin/python -m pip install --quiet --no-deps --require-hashes -r tests/service/clients/requirements.txt
	@cp tests/service/clients/package.json tests/service/clients/package-lock.json .clients/
	@if command -v npm >/dev/null; then npm ci --prefix .clients --silent --no-fund --no-audit; \
	else echo "not installed (no npm here): OpenAI's client for Node; its test is skipped"; fi
	@touch $@

demo: $(VENV)/.ready  ## make the sample shop in demo/, run it, serve it until Ctrl-C
	@deploy/install-system-packages espeak-ng fonts-wqy-microhei
	@test -e $(DEMO)/tulou.toml || $(BIN)/tulou init $(DEMO) --template shop
	@$(BIN)/tulou up --project $(DEMO)

test: $(VENV)/.ready .clients/.ready  ## the tests that take seconds each
	@deploy/install-system-packages espeak-ng fonts-wqy-microhei chromium postgresql redis-server
	$(BIN)/python -m pytest -q

test-all: $(VENV)/.ready .clients/.ready  ## also the slow tests
	@deploy/install-system-packages espeak-ng fonts-wqy-microhei chromium postgresql redis-server
	$(BIN)/python -m pytest -q -m "not live and not gpu"

check: $(VENV)/.ready  ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready  ## let ruff put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.ready  ## the measurements in docs/benchmarks.md
	$(BIN)/tulou bench gateway --peers

# What torch's CUDA build needs and its CPU build does not; pip brings it with such a build by itself.
GPU := triton cuda-bindings cuda-pathfinder cuda-toolkit $(addprefix nvidia-,cublas cuda-cupti cuda-nvrtc cuda-runtime \
  cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

EXTRAS := train onnx ocr speech postgres redis mysql mongo elastic hdfs s3 ray samples dev

lock: $(VENV)/.ready  ## choose the newest allowed versions and write requirements.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet tests/service/clients/requirements.in --generate-hashes --no-annotate --python-version 3.11 \
	  --no-header -o tests/service/clients/requirements.txt
	$(BIN)/uv pip compile --quiet pyproject.toml $(addprefix --extra ,$(EXTRAS)) --generate-hashes --no-annotate --python-version 3.11 \
	  $(addprefix --no-emit-package ,torch $(GPU)) --no-header -o requirements.lock

clean:  ## remove what make made, the demo included
	rm -rf $(VENV) .clients $(DEMO) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
