# `make run` and `make test` are all a newcomer needs; both set the environment up once.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.ready
LONG := .venv/.ready-long
DOCS := .venv/.ready-docs
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Nothing after the set-up reaches for a model hub.
export HF_HUB_OFFLINE ?= 1

# What stages make in data/; the rest there is yours.
DATA := abc catalog clamp2 codes demo features interleaved manifests mtf musicgen \
    recordings states summaries

.PHONY: run test test-long lint format preset schema docs check-docs container bench clean

run: $(STAMP) ## the whole pipeline, then the summary
	snakemake

test: $(STAMP) ## all tests but the long ones
	pytest -m "not long"

test-long: $(LONG) ## what takes minutes: DVC beside Snakemake, kills at random, load
	pytest -m long

lint: $(STAMP)
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow/rules
	snakemake --lint
	codespell

format: $(STAMP)
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow/rules

preset: $(STAMP) ## make preset NAME=clamp3-saas: published sizes over params.yaml
	python workflow/scripts/apply_preset.py $(NAME)

schema: $(STAMP) ## after a change of clamp3/config.py
	python -m clamp3.config > workflow/schemas/params.schema.json

docs: $(DOCS) ## the site, in docs/_build/html
	sphinx-build -c docs -b html -n -W --keep-going -q -d docs/_build/doctrees . docs/_build/html

check-docs: $(STAMP) ## after `make run`: what README.md and docs/ tell to type, typed
	python docs/check.py

container: ## clamp3.sif for `snakemake --sdm apptainer`; needs podman and apptainer
	podman build --tag clamp3 --file Containerfile .
	podman save --format oci-archive --output clamp3.tar clamp3
	apptainer build --force clamp3.sif oci-archive:clamp3.tar
	rm clamp3.tar

bench: $(STAMP)
	for program in benchmarks/*.py; do python $$program || exit 1; done

clean: ## results and intermediates; keeps the environment, and what is yours in data/
	rm -rf .snakemake logs results/models results/embeddings results/metrics results/evaluation \
	    results/resume results/tables results/index* results/report.html $(addprefix data/,$(DATA))

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) -e ".[dev]"
	touch $@

$(LONG): $(STAMP) # apart: with these installed every start of Snakemake takes longer
	$(INSTALL) -e ".[dev,s3,slurm]"
	touch $@

$(DOCS): $(STAMP)
	$(INSTALL) -e ".[dev,docs]"
	touch $@
