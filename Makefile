# Each target does all its own set-up: a virtual environment in the checkout, with the locked dependencies.
PYTHON ?= python3
BIN := .venv/bin
# More workers than there are cores: many tests wait for processes, and for the disk.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 3 )))
STAMP := .venv/.installed
# The tests start hundreds of processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test conformance lint bench faults chaos powercut model soak published bundle lock clean

demo: $(STAMP)  ## sixteen agents on a copy of a repository (REPO=/path, default: this one)
	$(BIN)/python examples/fan_out.py $(if $(REPO),--repo "$(REPO)")

test: $(STAMP)  ## the whole test suite
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

faults: $(STAMP)  ## kills and failing system calls at every point of every primitive (hours; ARGS='--budget 600', ARGS=--help)
	cd tests && ../$(BIN)/python -m campaigns.faults $(ARGS)

conformance: $(STAMP)  ## clients that others wrote: the official suite, the Inspector, an older SDK, servers behind nginx (CI=1: none left out)
	$(BIN)/pytest -n 2 --dist worksteal tests/interop/suite.py tests/interop/inspector.py tests/interop/older.py tests/interop/replicas.py $(ARGS)

lint: $(STAMP)  ## style and types, of source, tests, examples and benchmarks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/basedpyright --warnings

bench: $(STAMP)  ## beside plain git and cp, in one run (REPO=/path for a real repository; as root on fresh file systems; ARGS=--help)
	$(BIN)/python benchmarks/bench.py $(if $(REPO),--repo "$(REPO)") $(ARGS)

chaos: $(STAMP)  ## many agents at once, killed and stopped at random, and nothing acknowledged lost (ARGS="--agents 64 --minutes 10 --seed 1")
	cd tests && ../$(BIN)/python -m campaigns.chaos $(ARGS)

powercut: $(STAMP)  ## power cuts while agents work, on file systems in images (as root; ARGS="--minutes 10 --seed 1")
	cd tests && ../$(BIN)/python -m campaigns.powercut $(ARGS)

model: $(STAMP)  ## the verbs in any order against a model of contents (ARGS="--examples 200 --steps 40 --seed 1")
	cd tests && ../$(BIN)/python -m campaigns.machine $(ARGS)

published: $(STAMP)  ## the published conformance suite, whole: on the example of somebody else's backend, and on btrfs and XFS (as root); all recorded merges by folders
	$(BIN)/pytest --whole tests/test_own_backend.py tests/test_filesystems.py tests/test_oracle.py

soak: $(STAMP)  ## the whole life of workspaces for an hour, looking for what grows (SECONDS=3600)
	cd tests && SECONDS=$(or $(SECONDS),3600) ../$(BIN)/python -m campaigns.soak $(ARGS)

bundle: $(STAMP)  ## the MCP bundle, dist/mcp-workspaces.mcpb, from what is tracked here
	$(BIN)/python tests/bundling.py dist/mcp-workspaces.mcpb

lock:  ## resolve the dependencies anew, for every platform at once
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header --quiet --output-file requirements.lock

clean:
	rm -rf .venv build dist *.egg-info

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.11")'
	rm -rf *.egg-info  # an old one would be found before what is installed now
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)
