# `make help` lists what there is. Everything is made below build/ and .venv/, from versions in
# constraints.txt.

PYTHON ?= python3
DEVICE := .venv
FULL := build/venv-full
DOCS := build/venv-docs
PYTHON311 ?= python3.11
PYTHON313 ?= python3.13
PIP_FLAGS := --disable-pip-version-check --quiet
# mediapipe asks for the OpenCV wheel with windows, which would overwrite the headless one: it is
# installed by itself, after what it truly imports.
MEDIAPIPE := mediapipe==1.2.2
MEDIAPIPE_NEEDS := absl-py certifi flatbuffers
CODE := edgeemo edge host_training converters deploy tests benchmarks examples

# What a device can run is tested with a device's packages only. Of these, some files are run again beside
# all other packages, which they must get along with.
ON_DEVICE := tests/test_tests.py tests/edge tests/edgeemo/cli tests/docs/test_docs.py tests/docs/test_wording.py --ignore=tests/edge/view
BESIDE := $(addprefix tests/edge/,bench preview sources/files/test_films.py)
# What is about the device's own environment.
DEVICE_ALONE := $(addprefix tests/edgeemo/cli/test_,calibrate_command.py lean_imports.py run_request.py)
# The files of a suite run two at a time.
PARALLEL := --numprocesses=2 --dist=loadfile

# A suite that collects nothing proves nothing: pytest's exit code 5 fails, and says why.
define pytest
	$(1)/bin/python -m pytest $(2) || { code=$$?; \
	  [ $$code -ne 5 ] || echo "pytest collected no tests in $(2): that is a failure" >&2; \
	  exit $$code; }
endef

.PHONY: help demo check test test-device test-full soak test-arm64 test-bare test-runtimes test-wheels test-matrix test-container resolve service-test vm-test test-camera pi-budget docs diagrams examples pictures dist fmt lint type schema framing clean

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(DEVICE)/.installed ## run the main job on a moving real face, without any camera
	@mkdir -p build/demo
	$(DEVICE)/bin/edgeemo run --source demo --log-dir build/demo --snapshot build/demo/demo.png

check: $(DEVICE)/.tested-with ## in a minute, while you write: the quick tests of what a device runs, style and types
	$(call pytest,$(DEVICE),$(PARALLEL) -q -m 'not slow' $(ON_DEVICE))
	$(MAKE) lint type

test: test-device test-full ## run the tests: the device's with its packages only, then the others with all

test-device: $(DEVICE)/.tested-with
	@$(DEVICE)/bin/python -c "import importlib.util as u, sys; \
	  sys.exit(any(map(u.find_spec, ('tensorflow', 'mediapipe', 'matplotlib', 'duckdb'))))" \
	  || { echo "the device environment holds more than a device's packages" >&2; exit 1; }
	$(call pytest,$(DEVICE),$(PARALLEL) $(ON_DEVICE))

test-full: $(FULL)/.installed
	@sh deploy/graphics-libraries.sh
	$(call pytest,$(FULL),$(PARALLEL) $(filter-out tests/edge/,$(wildcard tests/*/)) tests/edge/view $(BESIDE) $(DEVICE_ALONE:%=--ignore=%))

pictures: $(FULL)/.installed ## make the pictures of docs/own-faces.md anew (needs chromium)
	PYTHONPATH=. $(FULL)/bin/python docs/own_faces.py

soak: $(DEVICE)/.tested-with $(FULL)/.installed ## kill a writer 1,000 times, a conversion 60; hostile bundles, 10,000 hostile frames each; 2,000 pictures without a face; ten minutes of a still one; memory over 100,000 (hours)
	EDGEEMO_KILLS=1000 $(DEVICE)/bin/python -m pytest tests/edge/sinks/test_jsonl_faults.py -k killed
	EDGEEMO_KILLS=200 $(DEVICE)/bin/python -m pytest tests/edge/capture -k killed
	EDGEEMO_KILLS=60 $(FULL)/bin/python -m pytest tests/converters/convert/test_convert_killed.py
	EDGEEMO_FUZZ=40 $(DEVICE)/bin/python -m pytest tests/edge/inference/test_hostile_bundles.py
	EDGEEMO_FRAMES=10000 $(DEVICE)/bin/python -m pytest tests/edge/runtime/test_must_hold.py -k hostile
	EDGEEMO_SCENES=2000 $(DEVICE)/bin/python -m pytest tests/edge/stages/mesh/test_reach.py -k 'found or no_face'
	EDGEEMO_STILL_MINUTES=10 $(DEVICE)/bin/python -m pytest tests/edge/stages/events/test_events.py -k noisy
	EDGEEMO_EXAMPLES=500 $(DEVICE)/bin/python -m pytest $(ON_DEVICE) -m hypothesis
	EDGEEMO_STORES=100 EDGEEMO_EXAMPLES=200 $(FULL)/bin/python -m pytest tests/converters tests/deploy tests/edgeemo/analysis tests/host_training -m hypothesis
	EDGEEMO_COMPILED=micro,fusion $(FULL)/bin/python -m pytest tests/host_training/training/test_torch_learner.py -k compiled
	PYTHONPATH=. $(DEVICE)/bin/python benchmarks/soak.py --frames 100000 --json build/soak.json

test-arm64: $(DEVICE)/.installed ## run it in an emulated arm64 Debian, as root (needs debootstrap, qemu-user-static, binfmt-support)
	tests/hosts/arm64_mesh.sh build $(DEVICE)/bin/python
	$(DEVICE)/bin/python tests/hosts/arm64_deploy.py build/arm64-bookworm build/arm64-trixie

test-bare: ## run the demo in a bare Debian, as root (needs debootstrap)
	tests/hosts/bare_demo.sh build

# The bundle is the same; interpreter, NumPy and runtime are not. tflite-runtime 2.14 needs NumPy 1.
test-runtimes: ## compare golden outputs on LiteRT (Python 3.11, 3.13) and tflite-runtime 2.14, where those Pythons are
	@ran=0; \
	compare() { \
	  "$$1" -c "" 2>/dev/null || { echo "$$1 is not here: $$2 left out" >&2; return 0; }; \
	  "$$1" -m venv build/runtimes/$$2 && build/runtimes/$$2/bin/pip install $(PIP_FLAGS) msgspec $$3 "$$4" && \
	  PYTHONPATH=. build/runtimes/$$2/bin/python tests/hosts/golden.py edge/models/default && ran=$$((ran + 1)); }; \
	compare $(PYTHON311) litert-3.11 numpy 'ai-edge-litert>=2.0' && \
	compare $(PYTHON313) litert-3.13 numpy 'ai-edge-litert>=2.0' && \
	compare $(PYTHON311) tflite-runtime 'tflite-runtime==2.14.0' 'numpy<2' && \
	{ [ $$ran -gt 0 ] || { echo "no Python was found: nothing was compared" >&2; exit 1; }; }

# Half a gigabyte is fetched once, by pip's cache or into build/wheelhouse; TensorFlow alone takes a minute.
test-wheels: ## install the device's wheel, the plain wheel and each extra by itself, and run every command
	$(PYTHON) tests/hosts/wheels.py build

# Of the device's packages: numpy, OpenCV, LiteRT, msgspec, typer and rich. MATRIX="--python 3.13 --packages newest" tries one.
test-matrix: ## use the wheel with the oldest, the tested and the newest packages, on Python 3.11 to 3.13
	rm -rf build/matrix-wheel
	$(PYTHON) -m pip wheel $(PIP_FLAGS) --no-deps --wheel-dir build/matrix-wheel .
	$(PYTHON) tests/hosts/matrix.py build/matrix-wheel/edgeemo-*.whl build/matrix $(MATRIX)

test-container: ## play deploy/container/Containerfile in a bare Debian, as root (needs debootstrap)
	$(PYTHON) tests/hosts/container_file.py build

resolve: ## ask the package index whether every extra can be installed on macOS and Windows (a minute)
	rm -rf build/resolve-wheel
	$(PYTHON) -m pip wheel $(PIP_FLAGS) --no-deps --wheel-dir build/resolve-wheel .
	$(PYTHON) tests/hosts/resolve.py build/resolve-wheel/edgeemo-*.whl build/uv

service-test: $(DEVICE)/.installed ## run it as a service of a booted Debian and deploy to it, as root (needs debootstrap, systemd-container, iproute2, chromium)
	tests/hosts/service.sh build $(DEVICE)/bin/python

vm-test: $(FULL)/.installed ## push it to a whole emulated PC with a camera, unplug, reboot, cut the power, as root (qemu-system-x86)
	tests/hosts/vm_test.sh build $(FULL)/bin/python

test-camera: ## run cameras' suites on the real picamera2 and libcamera in a chroot, and on a real UVC driver in an emulated PC, as root (debootstrap, qemu-system-x86; made once, a quarter of an hour)
	[ -d build/ribbon-camera ] || tests/hosts/ribbon_camera.sh make build/ribbon-camera
	tests/hosts/ribbon_camera.sh test build/ribbon-camera
	[ -d build/usb-camera ] || tests/hosts/usb_camera.sh make build/usb-camera
	tests/hosts/usb_camera.sh test build/usb-camera build/ribbon-camera

# PI_BUDGET='--cpu cortex-a76 --scene "one face"' counts less, --cycles predicts milliseconds, --write makes it the budget.
pi-budget: $(DEVICE)/.installed ## count a frame's instructions on an emulated Pi 4 and Pi 5, as root (needs debootstrap, qemu-user, gcc): at most 2 % over pi_budget.json
	$(DEVICE)/bin/python tests/hosts/pi_budget.py build $(abspath $(DEVICE))/bin/python $(PI_BUDGET)

fmt: $(FULL)/.installed ## format the code
	$(FULL)/bin/ruff format $(CODE)
	$(FULL)/bin/ruff check --fix $(CODE)

lint: $(FULL)/.installed ## check style, imports and spelling
	$(FULL)/bin/ruff format --check $(CODE)
	$(FULL)/bin/ruff check $(CODE)
	$(FULL)/bin/lint-imports
	$(FULL)/bin/codespell $(CODE) docs README.md CHANGELOG.md CONTRIBUTING.md

type: $(FULL)/.installed ## check types
	$(FULL)/bin/mypy

docs: $(DOCS)/.installed ## build the documentation's site into build/site, strict and offline
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build

diagrams: ## draw the documentation's diagrams from docs/diagrams/*.dot (needs graphviz)
	for source in docs/diagrams/*.dot; do \
	  dot -Tsvg -Gid=$$(sha256sum <$$source | cut -c1-16) $$source -o $${source%.dot}.svg || exit; done

examples: $(FULL)/.installed ## run the programs and notebooks of examples/
	$(call pytest,$(FULL),tests/edgeemo/test_examples.py tests/edgeemo/test_notebooks.py)

dist: $(FULL)/.installed ## build sdist and wheel into build/dist, check them, and use the wheel in an empty folder
	rm -rf build/dist
	$(FULL)/bin/python -m build --outdir build/dist .
	$(FULL)/bin/python -m twine check --strict build/dist/*
	$(PYTHON) tests/hosts/dist.py build/dist

schema: $(DEVICE)/.installed ## write docs/log-schema.json from the record classes
	$(DEVICE)/bin/python -c "import json; from edge.contract.logrecord import json_schema as s; print(json.dumps(s(), indent=2))" > docs/log-schema.json

clean: ## remove what make made (not runs/)
	rm -rf build .venv

$(DEVICE)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEVICE)
	$(DEVICE)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

$(DEVICE)/.tested-with: $(DEVICE)/.installed
	$(DEVICE)/bin/pip install $(PIP_FLAGS) -c constraints.txt pytest pytest-xdist hypothesis jsonschema
	@touch $@

$(DOCS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e '.[docs]'
	@touch $@

$(FULL)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e '.[analysis,deploy,host,host-jax,quantize,torch,video,view,dev]' $(MEDIAPIPE_NEEDS)
	$(FULL)/bin/pip install $(PIP_FLAGS) --no-deps $(MEDIAPIPE)
	@touch $@
