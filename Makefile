# Every target works on a Debian machine that has only Rust, git and make.
# What is missing is installed after asking (YES=1 answers yes); elsewhere it is listed.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test test-long conformance fuzz bench lint

TOOLS := $(CURDIR)/target/tools/bin
export PATH := $(TOOLS):$(PATH)
# Tests wait now and then: one more than there are cores keeps the cores busy. More of them only take time from
# each other, and from the servers that they share.
THREADS := $(shell echo $$((1 + $$(nproc 2>/dev/null || echo 2))))

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: ## Build Portcullis and start the demo gateway
	@scripts/need build
	cargo run --locked -- demo

test: ## Run every test against throw-away PostgreSQL, MariaDB and Redis servers
	@scripts/need build test nextest
	cargo test --locked --doc
	scripts/test-servers exec cargo nextest run --locked --test-threads $(THREADS)

test-long: ## The same with the full race counts; slow, for before a release
	@scripts/need build test nextest
	cargo test --locked --doc
	PORTCULLIS_TEST_LONG=1 scripts/test-servers exec cargo nextest run --locked --profile long --test-threads $(THREADS)

conformance: ## Call every endpoint as the API's own document has it, as each kind of caller; takes minutes
	@scripts/need build conformance
	cargo build --locked
	scripts/conformance

fuzz: ## Fuzz what faces the network, a minute for each target
	@scripts/need build fuzz
	@scripts/fuzz

# Lists are measured on a disk: what is in memory anyway shows nothing, and they take gigabytes.
bench: ## Measure the gateway against a bare Pingora pass-through, and lists where there is much
	@scripts/need build test
	scripts/test-servers exec cargo bench --locked --bench gateway --bench pure
	TMPDIR=$${TMPDIR:-/var/tmp} scripts/test-servers exec cargo bench --locked --bench lists

lint: ## Check formatting, clippy, licences and sources
	@scripts/need build deny
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo fetch --locked
	cargo deny --locked --offline --log-level error check licenses bans sources
