# Everything a person or a pipeline does with CryptoAI. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What needs the standard library alone runs before anything is installed, and with the environment's pip once there is one.
ANY_PYTHON = $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))
STAMP := $(VENV)/.installed-$(shell cat requirements.lock pyproject.toml | sha256sum | cut -c1-16)

.DEFAULT_GOAL := help
.PHONY: help setup run test check lint bench generate cluster cluster-down images tools test-cluster docs clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## make .venv from the lock file

$(STAMP): requirements.lock pyproject.toml
	@echo "installing into $(VENV) from requirements.lock (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@rm -f $(VENV)/.installed-* && touch $@

run: setup ## the whole loop on this machine: tape, features, training, server, shadow bot, page
	@exec $(BIN)/cryptoai demo

test: setup ## the default test suite
	@$(BIN)/python -m pytest

check: lint ## what the pipeline runs: lint, types, contracts, drift, every test
	@$(BIN)/python -m pytest --slow

lint: setup ## style, types, layering contracts, generated files, lock
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python scripts/generate.py --check
	@$(BIN)/python scripts/lock.py --check

generate: setup ## rewrite the files that are made from code (configs, reference docs)
	@$(BIN)/python scripts/generate.py

docs: generate ## rewrite the generated pages of docs/ and check every link
	@$(BIN)/python -m pytest tests/architecture/test_docs.py

bench: setup ## every benchmark, one JSON line each
	@$(BIN)/cryptoai bench all

cluster: ## a Kubernetes cluster for the tests: the KUBECONFIG given, kind, or a native node built here once
	@$(ANY_PYTHON) -m scripts.cluster up

cluster-down: ## stop the cluster that `make cluster` started
	@$(ANY_PYTHON) -m scripts.cluster down

images: ## build the images by role, with Docker or without, and load them into that cluster
	@$(ANY_PYTHON) -m scripts.images

tools: setup ## helm and kubectl into .tools/bin
	@$(BIN)/python -m scripts.tools

test-cluster: setup tools cluster images ## the whole loop on a real cluster, from install to nothing left behind
	@CRYPTOAI_TEST_KUBECONFIG=$$($(BIN)/python -m scripts.cluster kubeconfig) $(BIN)/python -m pytest tests/cluster --cluster

clean: ## remove what was built and what the product wrote here
	@rm -rf $(VENV) build dist site var checkpoints .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
