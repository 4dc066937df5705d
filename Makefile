# `make` says what there is. Python 3.11, Go (for the cluster's programs) and, without Docker, root on Debian 12.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
CLUSTER := $(BIN)/python tests/cluster/cluster.py
VENV_STAMP := .venv/.locked-$(shell sha256sum requirements/dev.txt | cut -c1-12)
PACKAGES := onguard operator/onguard_operator sidecar/onguard_sidecar
PYTEST := $(BIN)/python -m pytest
DOCTEST := --doctest-modules --doctest-glob='*.md'
.DEFAULT_GOAL := help
.PHONY: help venv packages tools lint unit contract e2e test bench bench-statistics fuzz images cluster cluster-down cluster-check demo

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV_STAMP) ## a real cluster, a model, a bad release and its rollback, shifted data and its retraining
	$(BIN)/python tests/demo/demo.py

test: ## everything that CI runs
	@$(PYTHON) tests/suite.py

lint: $(VENV_STAMP) ## format, style, types, who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

unit: $(VENV_STAMP) ## unit tests and the examples in the docstrings; no cluster, no tools
	$(PYTEST) -q $(DOCTEST) tests/unit $(PACKAGES)

contract: $(VENV_STAMP) ## chart, CRDs, dashboards and names agree; needs helm and a real API server (make tools)
	ONGUARD_TOOLS="$$($(CLUSTER) tools)" $(PYTEST) -q tests/contract tests/integration

e2e: $(VENV_STAMP) cluster images ## the local cluster itself, then OnGuard on it
	$(PYTEST) -v --junitxml=artifacts/cluster.xml tests/cluster
	$(PYTEST) -v -n 5 --dist loadfile --no-loadscope-reorder -m "not alone" --junitxml=artifacts/e2e.xml tests/e2e
	$(PYTEST) -v -m alone --junitxml=artifacts/e2e-alone.xml tests/e2e

bench: $(VENV_STAMP) ## what the tee costs beside nginx and Envoy; six minutes (BENCH=--short: two)
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.tee.run $(BENCH)

bench-statistics: $(VENV_STAMP) ## the evidence against its promises and its peers; fetches both; half an hour (BENCH=--short: minutes)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m tests.bench.statistics.run $(BENCH)

fuzz: $(VENV_STAMP) ## property tests with fifty times as many cases; the whole WebSocket suite
	ONGUARD_HYPOTHESIS_PROFILE=fuzz $(PYTEST) -q --timeout=1800 tests/unit
	ONGUARD_WEBSOCKET_CASES=all $(PYTEST) -q --timeout=3600 tests/integration/wire_peers/test_websocket_conformance.py

images: $(VENV_STAMP) packages ## build the images; load them where a cluster is up
	$(BIN)/python tests/cluster/images.py
	$(CLUSTER) load

cluster: $(VENV_STAMP) ## start the local cluster (compiles it the first time); again changes nothing
	$(CLUSTER) up

cluster-down: $(VENV_STAMP) ## take the local cluster away, all of it
	$(CLUSTER) down

cluster-check: $(VENV_STAMP) ## kill the start of a cluster at many points; nothing may stay behind
	$(BIN)/python tests/cluster/check_teardown.py

tools: $(VENV_STAMP) ## build Kubernetes, Helm, CoreDNS and metrics-server from their Go modules; prints the folder
	$(CLUSTER) tools

packages: $(VENV_STAMP) ## install the Debian packages that are missing (as root)
	$(CLUSTER) packages

venv: $(VENV_STAMP) ## the virtual environment, from hash-checked requirements

$(VENV_STAMP):
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	rm -f .venv/.locked-*
	touch $@
