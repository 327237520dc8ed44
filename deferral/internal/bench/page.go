// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// row compares one number with another. limit is what the ratio must not
// exceed, or 0; most is the same for nanoseconds.
type row struct {
	what, ours, theirs string
	against            string
	limit, most        float64
}

var rows = []row{
	{what: "poll, C", ours: "c-poll", theirs: "c-load", against: "plain load", limit: 1.2},
	{what: "poll, Go", ours: "go-poll", theirs: "go-load-pointer", against: "load through a pointer in a struct, as poll has it", limit: 1.2},
	{what: "poll, Go", ours: "go-poll", theirs: "go-load", against: "load from an address in a register"},
	{what: "poll, C", ours: "c-poll", theirs: "c-urcu-quiescent", against: "liburcu-qsbr quiescent_state"},
	{what: "poll, C", ours: "c-poll", theirs: "c-eventfd-poll", against: "eventfd, non-blocking read"},
	{what: "poll, Go", ours: "go-poll", theirs: "go-chan-poll", against: "select with default on a channel"},
	{what: "poll, Go", ours: "go-poll", theirs: "go-value-load", against: "atomic.Value Load"},
	{what: "enter + exit, C", ours: "c-enter-exit", theirs: "c-urcu-on-off", against: "liburcu-qsbr online + offline"},
	{what: "post, C", ours: "c-post", theirs: "c-eventfd-post", against: "eventfd write", most: 20},
	{what: "post, Go", ours: "go-post", theirs: "go-chan-post", against: "channel, send and receive", most: 20},
	{what: "publish 64 bytes, Go", ours: "go-publish", theirs: "go-value-store", against: "atomic.Value Store of a copy"},
	{what: "post to seen, C", ours: "c-post-seen", theirs: "c-ping-pong", against: "cache-line ping-pong", limit: 1.5},
	{what: "post to seen, Go", ours: "go-post-seen", theirs: "go-ping-pong", against: "cache-line ping-pong", limit: 1.5},
	{what: "post to seen, Go", ours: "go-post-seen", theirs: "go-chan-seen", against: "two channels, polled"},
	{what: "synchronize, C", ours: "c-synchronize", theirs: "c-urcu-synchronize", against: "liburcu-qsbr synchronize_rcu", limit: 1},
	{what: "synchronize, Go", ours: "go-synchronize", theirs: "c-urcu-beside-go", against: "liburcu-qsbr synchronize_rcu (C)", limit: 1},
	{what: "synchronize, C", ours: "c-synchronize", theirs: "c-membarrier-sibling", against: "membarrier, one running sibling"},
}

// spread is what a reader must know who repeats the run.
const spread = `The ratio of post to seen moves with the host's placement of the CPUs (1.3 to 1.5 on a
quiet machine) and with the alignment of the polling loops (up to 1.8, unaligned): how
often a loop looks decides how often it takes the line from the other side. The C loops
are aligned to 64 bytes on both sides.

`

func (r results) write(w io.Writer) {
	fmt.Fprintf(w, "# Benchmarks of package deferral\n\nWritten by `go run ./deferral/internal/bench -o docs/benchmarks-deferral.md`,\nexcept for its last section.\n%s\n\n", machine())
	fmt.Fprintf(w, "All numbers are from one run of %d passes; each is the least of %d measurements in\neach pass, because the machine is shared. Round trips and synchronize\nare measured in turn with what is beside them, and the pair with the median ratio is\nshown. A ratio below 1 means that deferral is faster. The owner is alone on one CPU, the poster on another.\n\n%s", passes, runs, spread)
	fmt.Fprintf(w, "| ratio | limit | operation | ns | beside | ns |\n|---:|---:|---|---:|---|---:|\n")
	for _, row := range rows {
		ours, theirs := r[row.ours], r[row.theirs]
		fmt.Fprintf(w, "| %.2f | %s | %s | %.2f | %s | %.2f |\n", ours/theirs, row.verdict(ours, ours/theirs), row.what, ours, row.against, theirs)
	}
	fmt.Fprintf(w, "\nSynchronize with one slot online and the others offline:\n\n| ratio | slots | deferral, ns | liburcu-qsbr, ns |\n|---:|---:|---:|---:|\n")
	for _, slots := range scales {
		ours, theirs := r[fmt.Sprintf("c-scale-tiso-%d", slots)], r[fmt.Sprintf("c-scale-urcu-%d", slots)]
		fmt.Fprintf(w, "| %.2f | %d | %.0f | %.0f |\n", ours/theirs, slots, ours, theirs)
	}
	fmt.Fprintf(w, "\nFunction-call interrupts that the owner's CPU received (`CAL` in /proc/interrupts,\nwhoever sent them), for each operation, of which there were 10^7 and 2*10^5:\n\n| operation | interrupts |\n|---|---:|\n| post, waited for until seen | %.5f |\n| membarrier PRIVATE_EXPEDITED | %.5f |\n", r["c-interruptions-post"], r["c-interruptions-membarrier"])
}

func (row row) verdict(ns, ratio float64) string {
	switch {
	case row.limit != 0:
		return fmt.Sprintf("%.1f %s", row.limit, met(ratio <= row.limit))
	case row.most != 0:
		return fmt.Sprintf("%.0f ns %s", row.most, met(ns <= row.most))
	}
	return ""
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}

func machine() string {
	var u unix.Utsname
	unix.Uname(&u)
	model := "unknown CPU"
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%s, %d CPUs, Linux %s, %s.", model, runtime.NumCPU(), unix.ByteSliceToString(u.Release[:]), runtime.Version())
}
