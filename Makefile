# `make help` lists what there is. Everything is made below build/ and .venv/, from versions in
# constraints.txt.

PYTHON ?= python3
DEVICE := .venv
FULL := build/venv-full
PIP_FLAGS := --disable-pip-version-check --quiet
# mediapipe asks for the OpenCV wheel with windows, which would overwrite the headless one: it is
# installed by itself, after what it truly imports.
MEDIAPIPE := mediapipe==1.2.2
MEDIAPIPE_NEEDS := absl-py certifi flatbuffers
CODE := edge host_training converters deploy tests benchmarks

# A suite that collects nothing proves nothing: pytest's exit code 5 fails, and says why.
define pytest
	$(1)/bin/python -m pytest $(2) || { code=$$?; \
	  [ $$code -ne 5 ] || echo "pytest collected no tests in $(2): that is a failure" >&2; \
	  exit $$code; }
endef

.PHONY: help demo test test-device test-full test-arm64 test-bare test-camera fmt lint type schema framing clean

help: ## show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(DEVICE)/.installed ## run the main job on a moving real face, without any camera
	@mkdir -p build/demo
	$(DEVICE)/bin/edgeemo run --source demo --log-dir build/demo --snapshot build/demo/demo.png

test: test-device test-full ## run the tests: first with the device's packages only, then with all

test-device: $(DEVICE)/.tested-with
	@$(DEVICE)/bin/python -c "import importlib.util as u, sys; \
	  sys.exit(any(map(u.find_spec, ('tensorflow', 'mediapipe', 'matplotlib'))))" \
	  || { echo "the device environment holds more than a device's packages" >&2; exit 1; }
	$(call pytest,$(DEVICE),tests/edge)

test-full: $(FULL)/.installed
	@sh deploy/graphics-libraries.sh
	$(call pytest,$(FULL),tests)

test-arm64: $(DEVICE)/.installed ## run it in an emulated arm64 Debian, as root (needs debootstrap, qemu-user-static, binfmt-support)
	tests/hosts/arm64_mesh.sh build $(DEVICE)/bin/python

test-bare: ## run the demo in a bare Debian, as root (needs debootstrap)
	tests/hosts/bare_demo.sh build

test-camera: ## run it on a real /dev/video0 in an emulated PC, as root (needs debootstrap, qemu-system-x86)
	tests/hosts/camera.sh build

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

schema: $(DEVICE)/.installed ## write docs/log-schema.json from the record classes
	$(DEVICE)/bin/python -c "import json; from edge.contract.logrecord import json_schema as s; print(json.dumps(s(), indent=2))" > docs/log-schema.json

clean: ## remove what make made (not runs/)
	rm -rf build .venv

$(DEVICE)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEVICE)
	$(DEVICE)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e .
	@touch $@

$(DEVICE)/.tested-with: $(DEVICE)/.installed
	$(DEVICE)/bin/pip install $(PIP_FLAGS) -c constraints.txt pytest hypothesis jsonschema
	@touch $@

$(FULL)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(FULL)
	$(FULL)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e '.[host,dev,deploy]' $(MEDIAPIPE_NEEDS)
	$(FULL)/bin/pip install $(PIP_FLAGS) --no-deps $(MEDIAPIPE)
	@touch $@
