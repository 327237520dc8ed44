// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"strings"

	"github.com/taskiso/taskiso/bench/results"
)

// comparison is one number beside another. limit is what the ratio must not exceed, or
// 0; most is the same for nanoseconds.
type comparison struct {
	what, ours, theirs string
	against            string
	limit, most        float64
}

func comparisons() []comparison {
	return []comparison{
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
}

// operations compares those of package deferral. The ratio is the median of the passes'.
func (s source) operations() (string, error) {
	t, err := s.readTable("deferral", "operations")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| ratio | limit | operation | ns | beside | ns |\n|---:|---:|---|---:|---|---:|")
	for _, c := range comparisons() {
		ours, err := t.Series(c.ours)
		if err != nil {
			return "", err
		}
		theirs, err := t.Series(c.theirs)
		if err != nil {
			return "", err
		}
		ratio, ns := ratios(ours, theirs), results.Median(ours)
		fmt.Fprintf(&b, "\n| %s | %s | %s | %s | %s | %s |", results.Spread(ratio), c.verdict(ns, results.Median(ratio)), c.what, results.Number(ns), c.against, results.Number(results.Median(theirs)))
	}
	return b.String(), nil
}

func ratios(ours, theirs []float64) []float64 {
	var of []float64
	for pass := range min(len(ours), len(theirs)) {
		of = append(of, ours[pass]/theirs[pass])
	}
	return of
}

func (c comparison) verdict(ns, ratio float64) string {
	switch {
	case c.limit != 0:
		return fmt.Sprintf("%.1f %s", c.limit, met(ratio <= c.limit))
	case c.most != 0:
		return fmt.Sprintf("%.0f ns %s", c.most, met(ns <= c.most))
	}
	return ""
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "**missed**"
}

// scale has the number of slots in rows.
func (s source) scale() (string, error) {
	t, err := s.readTable("deferral", "scale")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "| ratio | slots | deferral, ns | liburcu-qsbr, ns |\n|---:|---|---:|---:|")
	for i, slots := range t.Columns {
		ours, theirs := t.Rows[0].Values[i], t.Rows[1].Values[i]
		fmt.Fprintf(&b, "\n| %s | %s | %s | %s |", results.Spread(ratios(ours, theirs)), strings.TrimSuffix(slots, " slots"), results.Number(results.Median(ours)), results.Number(results.Median(theirs)))
	}
	return b.String(), nil
}
