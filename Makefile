# What people run in a checkout. Everything goes into .venv; the control plane's binary into ~/.cache/boundtoken.
PYTHON ?= python3.11
BIN := .venv/bin
SETUP := .venv/.done

.PHONY: help setup run patch cluster test unit fix lint check fuzz bench long conformance golden pictures pictures-of-a-cluster dashboard policies chart krew release-dry-run image-layers version topics reference site site-serve lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 30

setup: $(SETUP) ## everything needed, into .venv, from the lock file

$(SETUP): requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 …" >&2; exit 2; }
	@echo "setting up .venv from requirements-dev.lock (half a minute to two minutes)"
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(SETUP) ## serve without a cluster, with the examples; prints a curl line to try
	@$(BIN)/python -m tests.demo standalone

patch:
	@$(BIN)/python -m tests.demo patch

cluster: $(SETUP) ## a real control plane with boundtoken in it, for you to try; Ctrl-C stops it
	@$(BIN)/python -m tests.demo cluster

test: $(SETUP) ## every test, the control plane included (its first build takes about 18 minutes); one test: make test ARGS="-k name"
	@$(BIN)/python -m tests.controlplane.build
	@$(BIN)/python -m tests.helm.build
	@$(BIN)/python -m tests.monitoring.build
	@$(BIN)/python -m tests.browser.build
ifdef ARGS
	@$(BIN)/pytest $(ARGS)
else
	@$(BIN)/pytest -n 2 --dist loadfile -m "not slow"
	@$(BIN)/pytest -m slow
endif

unit: $(SETUP) ## what needs no control plane, no browser, no Prometheus and no long time; one test: make unit ARGS="-k name"
	@$(BIN)/pytest -q -n 4 -m "not controlplane and not browser and not prometheus and not slow" $(ARGS)

fix: $(SETUP) ## format, and fix what lint can fix
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: $(SETUP) ## format, lint, types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

check: lint ## the same, and the tests of tests/repo: floors, names, documents, manifests, the site
	@$(BIN)/pytest -q tests/repo

fuzz: $(SETUP) ## two minutes of corrupted certificates, Secrets, configurations and answers; exit 1 with the shortest that ends something
	@$(BIN)/python -W error -m tests.fuzz

bench: $(SETUP) ## the goals for speed and memory, each with its ratio
	@$(BIN)/python -m tests.bench

long: $(SETUP) ## the long search for expensive reviews, the long attacks, tokens that expire and a cache that becomes stale, about 55 minutes; figures for docs/performance.md
	@$(BIN)/python -m tests.bench.worst 600
	@BOUNDTOKEN_ATTACK_SECONDS=30 $(BIN)/pytest -s --timeout=3000 tests/attacks
	@BOUNDTOKEN_BEFORE=1 $(BIN)/pytest -s --timeout=3000 tests/cluster_e2e/test_attacks.py
	@BOUNDTOKEN_EXPIRY_SECONDS=660 $(BIN)/pytest -s --timeout=3000 tests/cluster_e2e/test_token_expiry.py
	@BOUNDTOKEN_STALE_SECONDS=300 $(BIN)/pytest -s --timeout=3000 tests/cluster_e2e/test_alerts_of_faults.py
	@BOUNDTOKEN_AUDIT_MEGABYTES=2000 $(BIN)/pytest -s --timeout=3000 tests/cli/test_token_audit.py -k any_length
	@BOUNDTOKEN_SCAN_PODS=10000 $(BIN)/pytest -s --timeout=3000 tests/cluster_e2e/test_scan.py -k many
	@BOUNDTOKEN_LONG=1 $(BIN)/pytest -s --timeout=3000 tests/cluster_e2e -k "hand_overs or hand_over_end or away_for_a_while or two_judges or who_may_is"
	@BOUNDTOKEN_PODS=80000 BOUNDTOKEN_SEED=$$(date +%s) $(BIN)/pytest --timeout=3000 tests/properties/test_again.py

conformance: $(SETUP) ## write the fixtures of tests/conformance from their tweaks
	@$(BIN)/python -m tests.conformance.generate

golden: $(SETUP) ## write the golden files of tests/golden anew, and show the difference
	@$(BIN)/python -m tests.golden

pictures: $(SETUP) ## what commands show, as SVG in docs/pictures; one of a cluster: make pictures ARGS="NAME COMMAND"
	@$(BIN)/python -m tests.pictures $(ARGS)

pictures-of-a-cluster: $(SETUP) ## the same of check and scan, of a real control plane
	@$(BIN)/python -m tests.pictures.cluster

dashboard: $(SETUP) ## write manifests/monitoring/dashboard.json from its panels
	@$(BIN)/python -m tests.monitoring.dashboard

policies: $(SETUP) ## write manifests/85-enforcement.yaml from the rules
	@policies=$$($(BIN)/boundtoken export policies --validating) && printf '%s\n' "$$policies" > manifests/85-enforcement.yaml

chart: $(SETUP) ## write what manifests/chart has from the manifests, the schema of the configuration and the flags
	@$(BIN)/python -m tests.chart

krew: $(SETUP) ## archives and manifest of the plugin of kubectl, into dist/krew: make krew URL=https://…
	@$(BIN)/python -m docs.krew.build --url "$(URL)"

release-dry-run: $(SETUP) ## every file of a release but what needs a registry, into dist/release: make release-dry-run URL=https://…
	@$(BIN)/python -m docs.release $(if $(URL),--url "$(URL)") $(ARGS)

image-layers: $(SETUP) ## digest and size of the image's layer for each processor, and its SBOMs, without a container engine
	@$(BIN)/python -m docs.release --only image

version: $(SETUP) ## set the version everywhere, and begin its section of the changelog: make version VERSION=0.2.0
	@$(BIN)/python -m docs.release.version set "$(VERSION)"

topics: $(SETUP) ## write the pages of boundtoken help from docs/reference.md and docs/checks.md
	@$(BIN)/python -m tests.topics

reference: $(SETUP) ## write the tables of docs/ whose text is in the code: annotations, rules, reasons, commands, flags, metrics, keys of the configuration
	@$(BIN)/python -m tests.reference
	@$(BIN)/python -m tests.topics

site: $(SETUP) ## docs/ as a site, in site/; a link or an anchor that leads nowhere is an error
	@$(BIN)/python -m docs.website

site-serve: $(SETUP) ## the same, and serve it on http://localhost:8000
	@$(BIN)/python -m docs.website --serve

lock: $(SETUP) ## the lock files as pyproject.toml demands; newer packages as well: make lock ARGS=--upgrade
	@$(BIN)/uv pip compile $(ARGS) -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements-image.lock
	@$(BIN)/uv pip compile $(ARGS) -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra cli -c requirements-image.lock pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile $(ARGS) -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev --all-extras -c requirements.lock pyproject.toml -o requirements-dev.lock
	@sed -n '/^\[build-system\]/,/^$$/s/.*"\(flit_core==[^"]*\)".*/\1/p' pyproject.toml | $(BIN)/uv pip compile $(ARGS) -q --universal --generate-hashes --no-header --no-annotate - -o requirements-build.lock

clean: ## remove .venv and what tools left behind; the control plane's binary stays in ~/.cache/boundtoken
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis site certs/dev/*.crt certs/dev/*.key
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
