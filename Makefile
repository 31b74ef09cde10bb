# make study | make pages | make test | make lab | make site; each sets up its own environment in .venv when there is none.
PYTHON ?= python3
BIN := .venv/bin
# Processes that share the tests, each with a thread.
WORKERS ?= 2
.PHONY: study pages test lab site lint lock clean

study: .venv/ready
	$(BIN)/snakemake

# The study, then the other notebooks on the street, each as a page of the report.
pages: .venv/ready
	$(BIN)/snakemake pages

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

lab: .venv/ready
	$(BIN)/jupyter lab notebooks

# A site in build/site: README, docs, the committed report, and the pages of notebooks that were executed on the
# synthetic street. The report is copied once more, since its tables in Markdown are files there and no pages.
site: pages
	rm -rf build/pages build/site
	mkdir -p build/pages/results
	cp -r README.md LICENSE CITATION.cff docs notebooks build/pages
	cp -r results/reference build/pages/results
	$(BIN)/python -c 'from reidnb.report import notebooks; notebooks.publish("results", "build/pages/results/reference")'
	$(BIN)/mkdocs build --quiet --strict
	cp -r build/pages/results build/site

# The versions of requirements.lock, which were tested together, then this checkout itself. Compiled, since each of a
# study's many processes would else compile PyTorch for itself where Python is told to write no bytecode.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "reidnb needs Python 3.11 or newer, this is " + sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -m ipykernel install --sys-prefix --name python3 --display-name reidnb > /dev/null
	touch $@

lint: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout notebooks/*.ipynb

# Pins anew what pyproject.toml allows, for Linux, macOS and Windows alike.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-emit-index-url pyproject.toml --output-file requirements.lock

clean:
	rm -rf .venv results/runs results/notebooks
