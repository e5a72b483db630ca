# The commands of this project. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Inputs per fuzz target.
N ?= 200000
require := tests/tools/require.sh

.PHONY: help demo test ci fmt lint kernels ebpf bench fuzz gpu-bundle doc build clean

help: ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Watch the bundled workload for 15 s, on a GPU if there is one, else simulated
	@$(require) cargo cc
	@deploy/demo.sh

build: ## Build everything that a user runs, and the simulated device (release)
	@$(require) cargo cc
	@tests/tools/build.sh

test: ## Everything that CI runs, cheapest check first
	@$(require) cargo cc python-venv
	@tests/tools/check.sh

ci: test ## The same

fmt: ## Format the code
	@$(require) cargo
	cargo fmt --all
	cargo fmt --manifest-path ebpf/Cargo.toml

lint: ## Format check, clippy, docs, licences, shell scripts
	@$(require) cargo cc
	@tests/tools/check.sh lint

kernels: ## Build the committed PTX from the CUDA C++ sources (needs no GPU and no CUDA toolkit)
	@$(require) python-venv
	@kernels/tools/build-ptx.sh

ebpf: ## Build the committed BPF objects from their source (installs what that needs into a cache folder)
	@$(require) cargo cc
	@ebpf/build.sh

bench: ## Print the benchmarks and their bars
	@$(require) cargo cc
	@tests/tools/bench.sh

fuzz: ## Fuzz everything that reads what others wrote: make fuzz N=10000000
	@$(require) cargo cc
	@cargo run --quiet --release --locked -p gpu-agent-tests --bin gpu-agent-fuzz -- --inputs $(N) $(ARGS)

gpu-bundle: ## Pack what a machine with a GPU needs to run tests/gpu/run.sh
	@$(require) cargo cc
	@tests/gpu/bundle.sh

doc: ## Build the API documentation
	@$(require) cargo cc
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

clean: ## Remove everything that was built or fetched
	cargo clean
	rm -rf .cache
