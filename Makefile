# Two commands do all: `make book` and `make test`. Each sets up what it needs by itself.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED := --require-hashes --no-deps --only-binary :all: --requirement
READY := .venv/.ready

# Overrides of runs.yml: make book DATA=/data MODELS="sam_vit_b grabcut" DEVICE=cuda JOBS=4
RENDER_OPTIONS := $(if $(DATA),--data "$(DATA)") $(if $(MODELS),--models "$(MODELS)") $(if $(DEVICE),--device $(DEVICE)) $(if $(JOBS),--jobs $(JOBS)) $(if $(OUT),--out "$(OUT)")

# What masks of an own folder hold: CLASSES="liver=1 tumour=2,3" IGNORE=255 THRESHOLD=128
MASKS := $(if $(CLASSES),--classes "$(CLASSES)") $(if $(IGNORE),--ignore "$(IGNORE)") $(if $(THRESHOLD),--threshold "$(THRESHOLD)")

# Relative paths hold: the notebook's kernel runs in this folder.
EXPLORE_OPTIONS := $(if $(DATA),-r data "$(DATA)") $(if $(FOLDER),-r folder "$(FOLDER)") $(if $(CLASSES),-r classes "$(CLASSES)") $(if $(IGNORE),-r ignore "$(IGNORE)") $(if $(THRESHOLD),-r threshold "$(THRESHOLD)") $(if $(IMAGE),-r image "$(IMAGE)") $(if $(NAME),-r datasets "$(NAME)") $(if $(MODELS),-r models "$(MODELS)") $(if $(DEVICE),-r compute device=$(DEVICE))

.PHONY: help book pdf chapter chapter-remove explore fetch doctor share add archive moved test test-fast browser check fuzz hooks bench phantoms lock clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

book: $(READY)  ## run the notebooks of runs.yml and render the book (DATA=, MODELS=, DEVICE=, JOBS=)
	$(BIN)/python -m medsam_utils.book.render $(RENDER_OPTIONS)

pdf: book  ## the whole book as _build/book.pdf, printed by Chromium
	$(BIN)/jupyter-book build . --builder singlehtml -q >/dev/null
	cp _build/singlehtml/book/pages/start.html _build/singlehtml/book.html  # its styles are named from there
	$$(command -v chromium chromium-browser google-chrome | head -1) --headless --no-sandbox --disable-gpu \
	    --no-pdf-header-footer --virtual-time-budget=20000 --print-to-pdf=_build/book.pdf \
	    "file://$(CURDIR)/_build/singlehtml/book.html"

chapter: $(READY)  ## a page of the book from your own images: FOLDER= with images/ and masks/, TITLE=, MODELS=, DEVICE=, CLASSES=, IGNORE=, THRESHOLD=, OUT= where to
	@test -n "$(FOLDER)" || { echo 'say which folder: make chapter FOLDER=/my/data TITLE="My data"'; exit 2; }
	$(BIN)/python -m medsam_utils.book.render $(RENDER_OPTIONS) chapter "$(FOLDER)" --title "$(TITLE)" $(MASKS)

chapter-remove: $(READY)  ## take a page of your own away: PAGE= its name or title
	@test -n "$(PAGE)" || { echo 'say which page: make chapter-remove PAGE="My data"'; exit 2; }
	$(BIN)/python -m medsam_utils.book.render $(RENDER_OPTIONS) remove "$(PAGE)"

explore: $(READY)  ## click on cases and annotate in JupyterLab: NAME= datasets in DATA=, or FOLDER=, or IMAGE=; MODELS=
	PATH="$(CURDIR)/$(BIN):$$PATH"; jupytext --quiet --to ipynb --output - notebooks/explore.py \
	    | python -W ignore -m papermill --prepare-only --log-level ERROR $(EXPLORE_OPTIONS) - explore.ipynb \
	    && jupyter lab $(LAB_OPTIONS) explore.ipynb

fetch: $(READY)  ## download a dataset: NAME= into the folder DATA=; without NAME: which can be had
	$(BIN)/python -m medsam_utils.datasets.fetch $(NAME) $(if $(DATA),--data "$(DATA)")

doctor: $(READY)  ## what is odd about a dataset, NAME=, or your own FOLDER=; writes doctor.html
	@test -n "$(NAME)$(FOLDER)" || { echo 'say which: make doctor NAME=us_breast, or FOLDER=/my/data'; exit 2; }
	@# Its status 1 with a page means that it has found something, which is no failure of make.
	@rm -f doctor.html
	$(BIN)/python -m medsam_utils.book.doctor "$(or $(NAME),$(FOLDER))" $(if $(DATA),--data "$(DATA)") $(MASKS) \
	    --page doctor.html || [ $$? -eq 1 -a -f doctor.html ]

share: $(READY)  ## rows of NAME= as one file for others: MODELS=, DATA=, OUT= rows.zip
	@test -n "$(NAME)" || { echo 'say which dataset: make share NAME=us_breast MODELS="sam_vit_b"'; exit 2; }
	$(BIN)/python -m medsam_utils.book.sharing share "$(NAME)" $(if $(DATA),--data "$(DATA)") \
	    $(if $(MODELS),--models "$(MODELS)") $(if $(OUT),--out "$(OUT)")

add: $(READY)  ## check the rows of others, ROWS= their file, and keep them for the comparison: ID=, ORIGIN=, DATA=
	@test -n "$(ROWS)" || { echo 'say which file: make add ROWS=rows.zip'; exit 2; }
	$(BIN)/python -m medsam_utils.book.sharing add "$(ROWS)" $(if $(DATA),--data "$(DATA)") \
	    $(if $(ID),--id "$(ID)") $(if $(ORIGIN),--origin "$(ORIGIN)")

archive: $(READY)  ## the built book with its rows as one file to cite, OUT= book.zip
	$(BIN)/python -m medsam_utils.book.archive keep $(if $(OUT),--out "$(OUT)")

moved: $(READY)  ## which numbers of the built book moved since one that was kept: SINCE= its file
	@test -n "$(SINCE)" || { echo 'say since which book: make moved SINCE=book.zip'; exit 2; }
	$(BIN)/python -m medsam_utils.book.archive moved "$(SINCE)"

test: $(READY)  ## all tests but those in the browser
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal --ignore tests/browser

test-fast: $(READY)  ## the tests without those marked slow
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal --ignore tests/browser -m "not slow"

browser: $(READY)  ## tests of the built pages in Chromium (after `make book`)
	$(BIN)/python -m pytest tests/browser --numprocesses auto --dist loadscope

check: $(READY)  ## style of the code, types of the core, lint of the JavaScript
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python lint

fuzz: $(READY)  ## damaged and hostile files for FOR= seconds (an hour), with SEED=; counts by outcome
	$(BIN)/python -m tests.fuzz --seconds $(or $(FOR),3600) --seed $(or $(SEED),0)

hooks: $(READY)  ## let git run the quick checks before each commit
	$(BIN)/pre-commit install

bench: $(READY)  ## measure: medians and ratios of interleaved runs
	$(BIN)/python benchmarks/loop.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/agreement.py --objects 600
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/mobile_sam.py
	$(BIN)/python benchmarks/cell_detail.py
	-$(BIN)/python benchmarks/in_page.py  # needs Chromium and npm
	-$(BIN)/python benchmarks/own_image.py  # needs Chromium and npm
	-$(BIN)/python benchmarks/live.py  # needs Chromium

phantoms: $(READY)  ## write the phantom datasets in their own formats: TO= folder
	$(BIN)/python -m medsam_utils.demo.phantoms "$(or $(TO),data/phantoms)"

lock: $(READY)  ## renew requirements.lock from pyproject.toml; keeps what is pinned unless it must change
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
	    --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml --output-file requirements.lock

clean:  ## remove what was built: pages, book, results (not .venv, not downloads)
	rm -rf _build book/pages results

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	@# Only files with a hash of the lock are installed, and only wheels: nothing is built but this package,
	@# by the setuptools of the lock. uv needs half a minute, pip four; uv knows nothing of the mirrors set
	@# for pip: then pip does it.
	@sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >.venv/uv.txt
	$(PIP) $(LOCKED) .venv/uv.txt && $(BIN)/python -m uv pip install --quiet $(LOCKED) requirements.lock \
	    || $(PIP) $(LOCKED) requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(READY)
