# SPDX-License-Identifier: Apache-2.0
#
# make build     bin/taskiso, one static binary
# make test      everything: installs what is missing, checks, unit, root and VM tests
# make check     static checks only; changes nothing
# make generate  BPF objects and other generated files
# make model     the proof of the deferral protocol; part of make test
# make test-rows VM tests on the rows that `make test` has only some tests of
# make flake N=5 VM tests N times, every second time on a busy host: what failed how often
# make bench, make soak, make demo

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.NOTPARALLEL: # the steps of `make test` are in order, and the machine may be small

# Where Go's own installer puts it, if it is not in PATH already.
export PATH := $(PATH):/usr/local/go/bin

GO          ?= go
STATICCHECK := $(GO) tool -modfile=internal/tools/go.mod staticcheck
SUDO        := $(shell [ "$$(id -u)" = 0 ] || command -v sudo)

# Tests that boot virtual machines (package internal/vmtest) are named so.
VM_TESTS    := ^TestVM

SOAK_TIME   ?= 1m # for each fuzz target
SOAK_ROUNDS ?= 10 # of all tests under the race detector
DEMO_TIME   ?= 10s

.PHONY: all build generate check test test-unit test-root test-vm test-rows flake bench bench-all bench-observers bench-load bench-open bench-isolation bench-noise bench-deferral bench-pagefault bench-partition benchmarks soak partition-soak provocations silence isolation-storm hold-soak demo setup setup-vm setup-peers clean

all: build

include model/model.mk

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/taskiso ./cmd/taskiso

generate: setup
	$(GO) generate ./...

check: setup
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

test: setup setup-vm check test-unit test-root model deferral-soak test-vm
	@echo "== test: all passed"

# -count=1, because tests look at the running kernel, which the test cache does not know.
test-unit: setup
	@echo "== test: unit tests, race detector"
	$(GO) test -race -count=1 -timeout 10m -skip '$(VM_TESTS)' $$($(GO) list ./... | grep -v -e /deferral -e /model)
	$(GO) test -race -short -count=1 -timeout 10m ./deferral/... ./model/... ./examples/deferral-udp # the rest: make model

# What needs root skips itself in test-unit if that did not run as root.
test-root:
	@echo "== test: tests that need root"
	@if [ "$$(id -u)" = 0 ]; then echo "have run above, as root"; \
	elif [ -n "$(SUDO)" ]; then $(GO) test -count=1 -timeout 10m -skip '$(VM_TESTS)' -exec '$(SUDO) -E' ./...; \
	else echo "NOT RUN: neither root nor sudo"; [ -z "$${CI:-}" ]; fi

# Without cgo, because the test binary is the whole guest. Guests of all packages run side by side: one on each CPU of the
# host, which vmtest sees to. What the tests need on the machine is in `hack/setup vm`.
VM_PACKAGES = $$($(GO) list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | awk '/internal\/vmtest[] ]/ {print $$1}')
VM_RUN      = CGO_ENABLED=0 $(GO) run ./internal/vmtest/cmd/vmrun
test-vm: setup-vm
	@echo "== test: kernels in virtual machines"
	$(VM_RUN) $(GO) test -json -count=1 -timeout 60m -run '$(VM_TESTS)' $(VM_PACKAGES)

# Every VM test on the rows of which `make test` has only some: docs/testing.md. Part of make soak.
ROWS ?= rt,arm64,arm64-sid
test-rows: setup setup-vm
	@echo "== test: virtual machines of rows $(ROWS)"
	TASKISO_NO_SKIP=1 TASKISO_ROWS=$(ROWS) $(VM_RUN) $(GO) test -json -count=1 -timeout 90m -run '$(VM_TESTS)' $(VM_PACKAGES)

# The VM tests N times, every second time beside a busy loop on each CPU: which fail now and then?
N ?= 5
flake: setup setup-vm
	TASKISO_NO_SKIP=1 $(VM_RUN) -n $(N) $(GO) test -json -count=1 -timeout 120m -run '$(VM_TESTS)' $(VM_PACKAGES)

bench:
	$(GO) test -run '^$$' -bench . -benchmem -timeout 30m ./...

# Comparisons with peers write docs/bench/*.json and make the page anew. Each takes flags in BENCH_FLAGS:
# `make bench-load BENCH_FLAGS='-rounds 1 -d 2s -o /tmp/load.json'`.
BENCH_FLAGS ?=

# Peers look for tracefs, which is mounted for them alone.
WITH_TRACEFS = $(SUDO) unshare --mount sh -c 'mount -t tracefs none /sys/kernel/tracing && exec "$$@"' sh

bench-all: bench-noise bench-observers bench-load bench-open bench-isolation bench-deferral bench-pagefault silence

# What observing costs, beside Debian's bpftrace, linux-perf and trace-cmd.
bench-observers: build setup-peers
	$(GO) build -o bin/bench-observers ./internal/peers/bench
	$(WITH_TRACEFS) bin/bench-observers $(BENCH_FLAGS)
	$(MAKE) benchmarks

# What they record of many events, and with how much memory.
bench-load: build setup-peers
	$(GO) build -o bin/bench-load ./internal/peers/load
	$(WITH_TRACEFS) bin/bench-load $(BENCH_FLAGS)
	$(MAKE) benchmarks

# How long they take until they observe.
bench-open: build setup-peers
	$(GO) build -o bin/bench-open ./internal/peers/open
	$(WITH_TRACEFS) bin/bench-open $(BENCH_FLAGS)
	$(MAKE) benchmarks

# What isolation costs its task, on a CPU that must be otherwise idle.
bench-isolation: build
	$(GO) build -o bin/bench-isolation ./internal/peers/isolation
	$(SUDO) bin/bench-isolation $(BENCH_FLAGS)
	$(MAKE) benchmarks

# What is left when nothing runs, beside oslat and cyclictest of rt-tests, rtla and hwlatdetect, here and in a guest.
bench-noise: build setup-peers setup-vm
	$(GO) build -o bin/bench-noise ./internal/peers/noise
	$(WITH_TRACEFS) bin/bench-noise $(BENCH_FLAGS)
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVMPeersOfNoise$$' -v ./internal/cli -args -update $(if $(VM_FLAGS),-noise '$(VM_FLAGS)')
	$(MAKE) benchmarks

# Package deferral beside liburcu and what else reaches a busy thread. Both CPUs must be otherwise idle.
bench-deferral: setup-peers
	$(GO) build -o bin/bench-deferral ./internal/peers/deferral
	bin/bench-deferral $(BENCH_FLAGS)
	$(MAKE) benchmarks

# What a watched page fault costs, beside perf.
bench-pagefault: setup-peers
	$(GO) build -o bin/bench-pagefault ./internal/peers/pagefault
	$(SUDO) bin/bench-pagefault $(BENCH_FLAGS)
	$(MAKE) benchmarks

# A partition beside the profile cpu-partitioning of Debian's tuned, in virtual machines. tuned is unpacked
# for them and not installed, because its package would start it on this machine.
TUNED := tuned bash coreutils grep findutils util-linux kmod diffutils hostname
bench-partition: setup setup-vm
	tuned=$$($(GO) run ./internal/vmtest/cmd/vmsetup -unpack '$(TUNED)'); \
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 120m -run '^TestVMPeersOfPartition$$' -v ./internal/cli -args -update -tuned "$$tuned"
	$(MAKE) benchmarks

# docs/benchmarks.md and its figures, of docs/bench/*.json. A test compares them.
benchmarks:
	$(GO) run ./internal/peers/page

soak: setup
	hack/soak $(SOAK_TIME) $(SOAK_ROUNDS)
	$(MAKE) test-rows provocations silence deferral-trace isolation-storm partition-soak hold-soak

# Being observed interrupts an isolated CPU no more than being left alone. Also a benchmark: see bench-all.
silence: setup setup-vm setup-peers
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVMSilence$$' -v ./internal/cli -args -update $(VM_FLAGS)
	$(MAKE) benchmarks

# A partition killed after each of its writes, and what it keeps away, on each kernel.
partition-soak: setup setup-vm
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVM(Systemd|BootLines)?$$' -v ./internal/partition
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVMPartition(Effect|OfARunSystemd)$$' -v ./internal/cli

# Real operations against an isolated CPU on each kernel, each to be named.
provocations: setup setup-vm
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 90m -run '^TestVMProvocations$$' -v ./internal/cli -args -update
	$(GO) generate ./internal/cause

# Enters and leaves isolation 100,000 times on each kernel while it is disturbed.
isolation-storm: setup setup-vm
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVMIsolationStorm$$' -v ./internal/cli

# A hostile task for ten minutes, every guarded operation held and not, 1,000 at once, and the keeper killed 200 times, on each kernel.
hold-soak: setup setup-vm
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 60m -run '^TestVM(HoldAll|Hostile)$$' -v ./internal/cli
	CGO_ENABLED=0 $(GO) test -count=1 -tags soak -timeout 90m -run '^TestVM(Soak|AllWithoutModule)$$' -v ./internal/hold

demo: build
	$(SUDO) bin/taskiso run -d $(DEMO_TIME)

setup:
	@hack/setup build

setup-vm:
	@hack/setup vm

setup-peers:
	@hack/setup peers

clean:
	rm -rf bin
