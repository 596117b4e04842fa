# make demo: the main job on demo videos.  make test: linters, types, tests.  make check: those that are quick.
# make interpreters: the main job with each Python that is here, and with the oldest and newest packages.
# All of them make .venv first.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PINS := $(PIP) --only-binary=:all: --require-hashes --requirement

.PHONY: demo test check interpreters clean

demo: $(VENV)/.runtime-installed
	$(BIN)/python launch.py --instances 8 --fps 5

test: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder --durations 10 \
	    tests/conformance tests/containers tests/integration tests/chaos tests/unit

check: $(VENV)/.test-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy & $(BIN)/python -m pytest -n 2 --dist worksteal --durations 5 -m "not slow" tests/unit && wait $$!

interpreters: | $(BIN)/pip
	$(BIN)/python tests/interpreters.py

clean:
	rm -rf $(VENV) .venv-fiftyone demo output build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.runtime-installed: requirements.txt | $(BIN)/pip
	@echo "installing the dependencies into $(VENV) ..."
	@$(PINS) requirements.txt
	@touch $@

$(VENV)/.test-installed: requirements-test.txt | $(BIN)/pip
	@echo "installing the dependencies and the test tools into $(VENV) ..."
	@tests/fiftyone-env.sh .venv-fiftyone & \
	    $(PINS) requirements-test.txt || exit; \
	    $(PIP) 'torch==2.13.0+cpu' 2>/dev/null || \
	    echo "no CPU build of PyTorch is to be had here, and the others weigh gigabytes: its example is not tested"; \
	    wait
	@touch $@ $(VENV)/.runtime-installed

# A venv without pip is one whose making was cut short, or failed for want of ensurepip.
$(BIN)/pip:
	@for python in python3.13 python3.12 python3.11 python3; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "making $(VENV) with $$($$python --version)"; \
	        $$python -m venv --clear $(VENV) && exit 0; \
	        echo "$$python cannot make a virtual environment; on Debian or Ubuntu: apt install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	done; \
	echo "Python 3.11 or later is needed, and none of python3.13, python3.12, python3.11, python3 is one" >&2; \
	exit 1
