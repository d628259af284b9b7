# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
CONSOLE := $(BIN)/mlflow-console
DEPLOYMENT ?= ./lab

.PHONY: run test images check bench screenshots lock wheel clean

run: .venv/ready
	@test -e $(DEPLOYMENT)/console.toml || $(CONSOLE) init $(DEPLOYMENT)
	@$(CONSOLE) --deployment $(DEPLOYMENT) up
	@$(CONSOLE) --deployment $(DEPLOYMENT) demo
	@$(CONSOLE) --deployment $(DEPLOYMENT)

test: .venv/ready
	$(BIN)/pytest -n auto --dist loadgroup -m "not alone" $(TESTS)
	$(BIN)/pytest -m alone $(TESTS) || [ $$? -eq 5 ]  # 5: there is none among them

# For the tests with Docker, without any image registry: tests/images/README.md.
images: .venv/ready
	$(BIN)/python -m tests.images

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/python -m benchmarks

screenshots: .venv/ready
	$(BIN)/python screenshots/draw.py --deployment $(DEPLOYMENT)

# The lock carries hashes and no address: any index that serves the same files will do.
lock: .venv/ready
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate --extra dev -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate -o stack/server/requirements.lock stack/server/requirements.in
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	  --no-header --no-annotate -o stack/mlflow/requirements.lock stack/mlflow/requirements.in

wheel: .venv/ready
	$(BIN)/hatchling build -t wheel

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; give it as PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv module is missing: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

clean:
	rm -rf .venv build dist
