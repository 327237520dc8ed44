// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/report"
)

// Whatever is in a report, its screen fits the terminal, and nothing of these is lost: the verdicts, that something is not known,
// events that were lost, the number of limits; and the causes that it shows and those that it sums up are all that there were.
func TestEveryScreenFits(t *testing.T) {
	for seed := range uint64(800) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		r := generate(t, rnd)
		width := 40 + rnd.IntN(180)
		got := print(t, r, Options{Width: width, Sort: Orders()[rnd.IntN(3)], ASCII: rnd.IntN(2) == 0})
		name := fmt.Sprintf("seed %d, width %d", seed, width)
		check(t, name, got, width)
		for _, c := range r.CPUs {
			if !strings.Contains(got, c.Verdict) {
				t.Errorf("%s: no verdict %s:\n%s", name, c.Verdict, got)
			}
		}
		if len(r.Doubts) > 0 && !strings.Contains(got, "  unknown: ") {
			t.Errorf("%s: no doubt of %d:\n%s", name, len(r.Doubts), got)
		}
		if (r.Lost.Events > 0) != strings.Contains(got, "lost: "+display.Count(r.Lost.Events)) {
			t.Errorf("%s: %d events were lost:\n%s", name, r.Lost.Events, got)
		}
		if !strings.Contains(got, "--full lists "+display.Plural(uint64(len(r.Limits)), "limit", "limits")) {
			t.Errorf("%s: %d limits:\n%s", name, len(r.Limits), got)
		}
		if t.Failed() {
			return
		}
		checkSums(t, name, r)
	}
}

// checkSums compares the lines of the table and of the legend with what is in the report.
func checkSums(t *testing.T, name string, r *report.Report) {
	t.Helper()
	s := &screen{report: r, width: 80}
	s.groups = groupsOf(s)
	var breaks, seen, ended uint64
	for _, c := range r.CPUs {
		for _, cause := range c.Causes {
			breaks += cause.Count
		}
	}
	for _, g := range s.groups {
		seen += g.count
	}
	for _, w := range s.ways {
		ended += w.count
	}
	if seen != breaks || ended != breaks {
		t.Errorf("%s: %d breaks in the table and %d in the legend, want %d", name, seen, ended, breaks)
	}
}

func generate(t *testing.T, rnd *rand.Rand) *report.Report {
	r := base(t)
	r.Duration = time.Duration(rnd.Int64N(int64(100 * time.Hour)))
	r.Task.Kind = []string{"command", "busy loop", "process", "thread", "cpus", "new"}[rnd.IntN(6)]
	for range rnd.IntN(5) {
		r.Task.Command = append(r.Task.Command, text(rnd))
	}
	r.Tracing = rnd.IntN(4) > 0
	if rnd.IntN(2) == 0 {
		r.Partition = &report.Partition{Reason: []string{"", text(rnd)}[rnd.IntN(2)]}
	}
	for i := range rnd.IntN(6) {
		r.CPUs = append(r.CPUs, cpu(rnd, i*(1+rnd.IntN(3))))
	}
	for i := range rnd.IntN(8) {
		r.Doubts = append(r.Doubts, report.Doubt{Reason: report.DoubtLost, CPU: &i, Text: text(rnd) + " " + text(rnd)})
	}
	for range rnd.IntN(20) {
		r.Limits = append(r.Limits, text(rnd))
	}
	for i := range rnd.IntN(4) {
		r.Monitors = append(r.Monitors, report.Monitor{Monitor: text(rnd), CPU: i, Verdict: []string{report.MonitorSatisfied, report.MonitorUnknown}[i%2]})
		r.Isolation = append(r.Isolation, report.Isolation{IsolationCalls: report.IsolationCalls{Attempts: rnd.Uint64()}, Entered: rnd.Uint64()})
	}
	for i := range rnd.IntN(4) {
		r.Task.Left = append(r.Task.Left, report.Process{PID: i, Name: text(rnd)})
		r.Holds = append(r.Holds, operation.Record{Outcome: operation.Held})
	}
	if rnd.IntN(2) == 0 {
		r.Usage = &report.Usage{Task: &report.TaskUsage{User: span(rnd), System: span(rnd), MinorFaults: rnd.Int64()}}
	}
	if rnd.IntN(3) == 0 {
		r.Lost = report.Lost{Events: 1 + rnd.Uint64N(1<<40), Missed: uint64(rnd.IntN(2)), Children: uint64(rnd.IntN(3))}
	}
	return r
}

func cpu(rnd *rand.Rand, n int) report.CPU {
	c := report.CPU{CPU: n, Complete: rnd.IntN(2) == 0, User: span(rnd), Kernel: span(rnd), Breaks: rnd.Uint64N(1 << 40)}
	c.Verdict = []string{report.VerdictQuiet, report.VerdictDisturbed, report.VerdictUnknown}[rnd.IntN(3)]
	ids := []string{"syscall", "page-fault", "tick", "irq", "task-user", "exception-signal"}
	for range rnd.IntN(40) {
		cause := report.Cause{ID: ids[rnd.IntN(6)], Title: text(rnd), Detail: text(rnd), Count: 1 + rnd.Uint64N(1<<33), Total: span(rnd), Max: span(rnd), Waited: span(rnd) * time.Duration(rnd.IntN(2))}
		if rnd.IntN(3) == 0 {
			cause.ID = text(rnd)
		}
		if rnd.IntN(5) == 0 {
			cause.Unmeasured = cause.Count
		}
		if rnd.IntN(3) > 0 {
			cause.Remedy = &report.Remedy{Kind: []string{"boot", "runtime", "program", "new"}[rnd.IntN(4)], Do: text(rnd)}
		}
		cause.Partition = []string{"", "", report.PartitionEnds, report.PartitionUnknown}[rnd.IntN(4)]
		for range rnd.IntN(4) {
			cause.Origins = append(cause.Origins, report.Origin{Did: []string{"", "wake", "arm", "call", "new"}[rnd.IntN(5)], Name: text(rnd), Interrupt: rnd.IntN(2) == 0, Count: rnd.Uint64()})
		}
		c.Causes = append(c.Causes, cause)
	}
	return c
}

func span(rnd *rand.Rand) time.Duration { return time.Duration(rnd.Int64N(1 << rnd.IntN(50))) }

// text is a word or a sentence of letters that are narrow, wide, without a width, and not fit to be shown.
func text(rnd *rand.Rand) string {
	letters := []rune("abc  de-µ→日本\u0301\u200b\x1b\n\r\t\u202e👍'\"\\%\ufffd")
	var b strings.Builder
	for range rnd.IntN(1 + rnd.IntN(120)) {
		b.WriteRune(letters[rnd.IntN(len(letters))])
	}
	return b.String()
}
