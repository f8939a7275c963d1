# Everything a newcomer does. `make demo` and `make test` share one set-up, in .venv beside this file: made once, and
# afterwards only for what changed (the locked versions, the project file, the C++ kernels).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV := .venv
PY := $(VENV)/bin/python
LOCK := requirements/dev.txt
KERNEL_SOURCES := $(shell find kernels -type f)
CPP_SOURCES := $(filter %.h %.cpp,$(KERNEL_SOURCES))

# PYTHON=/usr/bin/python3.12 chooses the interpreter of .venv; PYTEST_ARGS="tests/io -x" narrows the tests.
export PYTHON
# Those that train take their data on the command line: see docs/training.md.
BENCHMARKS := import_time kernels floors density_sweep residual_step scaling voxels io_scan io_read

CLANG ?= clang++

# WORKERS=0 runs them in one process, for a debugger or a quiet timing.
PYTEST_ARGS ?=
WORKERS ?= 2

# Bytecode is written at the first import, whatever the environment says: commands that the tests start import torch and
# napari anew, which costs twice the time without it.
unexport PYTHONDONTWRITEBYTECODE

# Without compiling all of 190 packages to bytecode, most of it never imported, the set-up takes half the time.
INSTALL = $(PY) -m pip install --quiet --disable-pip-version-check --no-compile

# $(call kernel-tests,NAME,OPTIONS): configure, build and test in a folder of its own.
define kernel-tests
	$(VENV)/bin/cmake -S kernels -B build/kernels-$(1) -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(VENV)/bin/ninja -DSPARSE3D_TESTS=ON $(2)
	$(VENV)/bin/cmake --build build/kernels-$(1)
	$(VENV)/bin/ctest --test-dir build/kernels-$(1) --output-on-failure --no-tests=error
endef
comma := ,

say = @printf '\n==> %s\n'

.PHONY: help
help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "  make %-16s %s\n", $$1, $$2 }'

.PHONY: demo
demo: setup ## the main job, end to end, on a real head MRI; the report goes to demo/
	$(say) 'Running the demo'
	$(VENV)/bin/napari-sparse3d demo

.PHONY: test
test: setup test-kernels test-python ## all tests: the C++ kernels, then Python (windows on a virtual display)

.PHONY: test-kernels
test-kernels: setup ## the C++ tests alone, which need neither Python nor torch
	$(say) 'Building and testing the C++ kernels'
	$(call kernel-tests,tests,)

.PHONY: test-sanitizers
test-sanitizers: setup ## the C++ tests under address, undefined-behaviour and thread sanitizers (a quarter of an hour)
	$(call kernel-tests,address,-DSPARSE3D_SANITIZE=address$(comma)undefined -DSPARSE3D_TEST_SCENES=40)
	$(call kernel-tests,thread,-DSPARSE3D_SANITIZE=thread -DSPARSE3D_TEST_SCENES=20)

.PHONY: test-address
test-address: setup ## the operators called with wrong arguments, the kernels under the address sanitizer
	$(VENV)/bin/cmake -S kernels -B build/kernels-python-address -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(VENV)/bin/ninja -DSKBUILD=ON -DSKBUILD_PROJECT_NAME=napari_sparse3d -DPython_EXECUTABLE=$(CURDIR)/$(PY) -DSPARSE3D_SANITIZE=address
	$(VENV)/bin/cmake --build build/kernels-python-address
	NAPARI_SPARSE3D_KERNELS="$$(echo $(CURDIR)/build/kernels-python-address/_kernels*.so)" ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so.6)" $(PY) tests/sparse/wrong_arguments.py 2 native

.PHONY: test-neon
test-neon: setup ## the C++ tests for 64-bit Arm, cross-compiled and emulated
	$(call kernel-tests,neon,-DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/kernels/cmake/aarch64-linux-gnu.cmake -DSPARSE3D_TEST_SCENES=40)

.PHONY: test-clang
test-clang: setup ## the C++ tests, the kernels built by clang: CLANG=clang++-19 chooses one
	$(call kernel-tests,clang,-DCMAKE_CXX_COMPILER=$(CLANG) -DSPARSE3D_TEST_SCENES=40)

.PHONY: test-python
test-python: setup ## the Python tests alone; PYTEST_ARGS="tests/io -x" narrows them
	$(say) 'Running the Python tests'
	scripts/with-display $(PY) -m pytest -n $(WORKERS) $(PYTEST_ARGS)

.PHONY: test-faults
test-faults: setup ## every command killed at random moments (20 minutes; FULL=1: 50 kills each instead of 10)
	$(say) 'Killing commands at random moments'
	$(PY) -m pytest -m faults tests/faults $(PYTEST_ARGS)

.PHONY: lint
lint: setup ## ruff, clang-format and mypy
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/clang-format --dry-run --Werror $(CPP_SOURCES)
	$(VENV)/bin/mypy

.PHONY: format
format: setup ## rewrite the Python and C++ files in the project's style
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $(CPP_SOURCES)

.PHONY: stub
stub: setup ## write anew what the Python module of the kernels offers, after a change of kernels/binding
	$(PY) scripts/kernel_stub.py > src/napari_sparse3d/_kernels.pyi

.PHONY: bench
bench: setup ## the measurements, with the floor beside each; nothing in the tests is timed
	$(say) 'Measuring (close other programs first)'
	@set -e; for name in $(BENCHMARKS); do printf '\n--- %s\n' "$$name"; $(PY) benchmarks/$$name.py; done

.PHONY: screenshots
screenshots: setup ## make the pictures of the documentation anew
	scripts/with-display $(PY) docs/screenshots.py

.PHONY: lock
lock: $(VENV)/.locked ## resolve the development versions anew (see docs/decisions)
	scripts/lock $(LOCK_ARGS)

.PHONY: clean
clean: ## remove what was built and downloaded, .venv included
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# --- the set-up -------------------------------------------------------------------------------------------------------

.PHONY: setup
setup: $(VENV)/.installed ## the set-up alone: .venv with the locked versions and this project, editable

.PHONY: system-packages
system-packages:
	@scripts/install-system-packages

# The stamp holds the folder: a .venv that was moved, or whose Python is gone, is made anew.
$(shell test ! -e $(VENV)/.made || { test "$$(cat $(VENV)/.made)" = '$(CURDIR)' && $(PY) -c ''; } 2>/dev/null || rm -rf $(VENV))

$(VENV)/.made: | system-packages
	$(say) 'Making $(VENV)'
	@$(PY) -c '' 2>/dev/null || { rm -rf $(VENV) && "$$(scripts/find-python)" -m venv $(VENV); }
	@$(PY) --version
	@echo '$(CURDIR)' > $@

# torch first: pip takes a CPU build where one is at hand, and its own dependencies are held to the lock. The rest comes
# with --no-deps, so that nothing outside the lock gets in; `pip check` finds what the lock forgot.
$(VENV)/.locked: $(LOCK) $(VENV)/.made
	$(say) 'Installing the locked versions: some 190 packages, minutes the first time'
	$(INSTALL) --constraint $(LOCK) torch
	$(INSTALL) --no-deps --requirement $(LOCK)
	@touch $@

$(VENV)/.installed: pyproject.toml napari.yaml $(KERNEL_SOURCES) $(VENV)/.locked
	$(say) 'Building the C++ kernels and installing the project, editable'
	$(INSTALL) --no-build-isolation --no-deps --editable .
	$(PY) -m pip check
	@touch $@
