// SPDX-License-Identifier: Apache-2.0

// Package trace observes kernel entries on chosen CPUs with BPF programs on raw
// tracepoints and delivers them as typed events in the order of their time.
//
// The observer must not be seen on the CPUs it observes. Everything is attached
// before the observation begins, because switching a tracepoint on patches
// kernel text and interrupts every CPU. Nothing on a watched CPU wakes the
// reader: it polls from another CPU. Counters are read from shared memory.
//
// An event that found no room is counted, per CPU and kind; what the tracer
// could not attach is listed with the reason.
package trace

//go:generate go tool bpf2go -cc clang-16 -strip llvm-strip-16 -target amd64,arm64 -tags linux -type cpu_state -type status -type isolated -type break_cause bpf bpf/trace.bpf.c -- -mcpu=v3 -Wall -Werror -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
