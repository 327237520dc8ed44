# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL: # the steps of `make test` are in order, and the machine may be small

# Where Go's own installer puts it, if it is not in PATH already.
export PATH := $(PATH):/usr/local/go/bin

GO          ?= go
STATICCHECK := $(GO) tool -modfile=internal/tools/go.mod staticcheck
SUDO        := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

# Tests that boot virtual machines (package internal/vmtest) are named so, and those that go through every state of a machine
# in one goroutine, where the race detector finds nothing and takes eight times as long.
VM_TESTS     := ^TestVM
EXPLORATIONS := ^TestExplore

SOAK_TIME   ?= 1m # for each fuzz target
SOAK_ROUNDS ?= 10 # of all tests under the race detector
DEMO_TIME   ?= 10s

.PHONY: all help build generate check test test-unit test-root test-vm test-rows flake bench bench-all bench-noise bench-partition benchmarks soak partition-soak provocations silence isolation-storm hold-soak demo setup setup-vm setup-peers clean

all: build

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { sub("%", "NAME", $$1); printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

include model/model.mk

build: ## bin/taskiso, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/taskiso ./cmd/taskiso

generate: setup ## BPF objects and other generated files; after a change of BPF C or a generator
	$(GO) generate ./...

check: setup ## static checks only; changes nothing
	@echo "== check: gofmt"
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "run gofmt -w on:"; echo "$$unformatted"; exit 1; }
	@echo "== check: go.mod is tidy"
	$(GO) mod tidy -diff
	@echo "== check: go vet, also for arm64"
	$(GO) vet ./...
	GOARCH=arm64 CGO_ENABLED=0 $(GO) vet ./...
	@echo "== check: staticcheck"
	$(STATICCHECK) ./...
	@echo "== check: generated files are what their sources give"
	@hack/check-generated

test: setup setup-vm check test-unit test-root model test-vm ## everything: installs what is missing; checks, unit, root and VM tests
	@echo "== test: all passed"

# -count=1, because tests look at the running kernel, which the test cache does not know.
test-unit: setup ## unit tests, with the race detector
	@echo "== test: unit tests, race detector"
	$(GO) test -race -count=1 -timeout 30m -skip '$(VM_TESTS)|$(EXPLORATIONS)' $$($(GO) list ./... | grep -v -e /deferral -e /model)
	$(GO) test -race -short -count=1 -timeout 30m ./deferral/... ./model/... ./examples/deferral-udp # the rest: make model

# What needs root skips itself in test-unit if that did not run as root.
test-root: ## tests that need root
	@echo "== test: tests that need root"
	@if [ "$$(id -u)" = 0 ]; then echo "have run above, as root"; \
	elif [ -n "$(SUDO)" ]; then $(GO) test -count=1 -timeout 30m -skip '$(VM_TESTS)' -exec '$(SUDO) -E' ./...; \
	else echo "NOT RUN: neither root nor sudo"; [ -z "$${CI:-}" ]; fi

# Without cgo, because the test binary is the whole guest. Guests of all packages run side by side: one on each CPU of the
# host, which vmtest sees to. What the tests need on the machine is in `hack/setup vm`.
VM_PACKAGES = $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | awk '/internal\/vmtest[] ]/ {print $$1}')
VM_RUN      = CGO_ENABLED=0 $(GO) run ./internal/vmtest/cmd/vmrun
test-vm: setup-vm ## tests in virtual machines
	@echo "== test: kernels in virtual machines"
	$(VM_RUN) $(GO) test -json -count=1 -timeout 80m -run '$(VM_TESTS)' $(VM_PACKAGES)

# Every VM test on the rows of which `make test` has only some: docs/testing.md. Part of make soak.
ROWS ?= rt,arm64,arm64-sid
test-rows: setup setup-vm ## VM tests on PREEMPT_RT and arm64, of which `make test` has only some
	@echo "== test: virtual machines of rows $(ROWS)"
	TASKISO_NO_SKIP=1 TASKISO_ROWS=$(ROWS) $(VM_RUN) $(GO) test -json -count=1 -timeout 90m -run '$(VM_TESTS)' $(VM_PACKAGES)

# The VM tests N times, every second time beside a busy loop on each CPU: which fail now and then?
N ?= 5
flake: setup setup-vm ## VM tests N times (N=5), every second time on a busy host: what failed how often
	TASKISO_NO_SKIP=1 $(VM_RUN) -n $(N) $(GO) test -json -count=1 -timeout 120m -run '$(VM_TESTS)' $(VM_PACKAGES)

bench: ## benchmarks of packages
	$(GO) test -run '^$$' -bench . -benchmem -timeout 30m ./...

# Comparisons with peers write docs/bench/*.json and make the page anew. Each takes flags in BENCH_FLAGS:
# `make bench-load BENCH_FLAGS='-rounds 1 -d 2s -o /tmp/load.json'`. `go run ./bench` lists their names.
BENCH_FLAGS ?=
BENCH        = $(GO) build -o bin/bench ./bench && $(SUDO) bin/bench

bench-all: bench-noise bench-observers bench-load bench-record bench-open bench-isolation bench-deferral bench-pagefault silence ## all comparisons with other tools: docs/benchmarks.md

bench-%: build setup-peers ## one comparison: observers, load, record, open, isolation, deferral or pagefault
	$(BENCH) $* $(BENCH_FLAGS)
	$(MAKE) benchmarks

# Here and in a guest.
bench-noise: build setup-peers setup-vm ## gaps on a CPU, beside oslat and cyclictest of rt-tests, rtla and hwlatdetect
	$(BENCH) noise $(BENCH_FLAGS)
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVMPeersOfNoise$$' -v ./internal/cli -args -update $(if $(VM_FLAGS),-noise '$(VM_FLAGS)')
	$(MAKE) benchmarks

# A partition beside the profile cpu-partitioning of Debian's tuned, in virtual machines. tuned is unpacked
# for them and not installed, because its package would start it on this machine.
TUNED := tuned bash coreutils grep findutils util-linux kmod diffutils hostname
bench-partition: setup setup-vm ## a partition, beside the profile cpu-partitioning of tuned
	tuned=$$($(GO) run ./internal/vmtest/cmd/vmsetup -unpack '$(TUNED)'); \
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 120m -run '^TestVMPeersOfPartition$$' -v ./internal/cli -args -update -tuned "$$tuned"
	$(MAKE) benchmarks

# A test compares them.
benchmarks: ## docs/benchmarks*.md and their figures, of docs/bench/*.json
	$(GO) run ./bench page

soak: setup ## long: every fuzz target, then all tests many times, then all soaks
	hack/soak $(SOAK_TIME) $(SOAK_ROUNDS)
	$(MAKE) test-rows provocations silence deferral-soak deferral-trace isolation-storm partition-soak hold-soak

# Also a benchmark: see bench-all.
silence: setup setup-vm setup-peers ## an isolated CPU that is observed is interrupted no more than one that is not
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVMSilence$$' -v ./internal/cli -args -update $(VM_FLAGS)
	$(MAKE) benchmarks

partition-soak: setup setup-vm ## a partition killed after each of its writes, on each kernel
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVM(Systemd|BootLines)?$$' -v ./internal/partition
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVMPartition(Effect|OfARunSystemd)$$' -v ./internal/cli

provocations: setup setup-vm ## real operations against an isolated CPU, each to be named, on each kernel
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 90m -run '^TestVMProvocations$$' -v ./internal/cli -args -update
	$(GO) generate ./internal/cause

isolation-storm: setup setup-vm ## isolation entered and left 100,000 times, on each kernel
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVMIsolationStorm$$' -v ./internal/cli

# The hostile task has ten minutes; operations are held and not; the keeper is killed 200 times.
hold-soak: setup setup-vm ## a hostile task, every guarded operation, 1,000 at once, on each kernel
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVM(HoldAll|Hostile)$$' -v ./internal/cli
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 180m -run '^TestVM(Soak|AllWithoutModule)$$' -v ./internal/hold

demo: build ## 10 seconds of taskiso on this machine
	$(SUDO) bin/taskiso run -d $(DEMO_TIME)

setup: ## install what building needs
	@hack/setup build

setup-vm: ## install what virtual machines need
	@hack/setup vm

setup-peers: ## install the tools that taskiso is compared with
	@hack/setup peers

clean: ## remove bin
	rm -rf bin
