// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/stay"
)

// fill returns what was collected of CPU 3, where every entry was seen.
func fill(t *testing.T, c *Collector) report.CPU {
	t.Helper()
	var r report.Report
	c.Fill(&r, mustCPUs(t, 3), mustCPUs(t, 3))
	if len(r.CPUs) != 1 {
		t.Fatalf("%d CPUs", len(r.CPUs))
	}
	return r.CPUs[0]
}

func TestTotals(t *testing.T) {
	c := newSample(t)
	var written []report.Break
	c.OnBreak = func(b report.Break) { written = append(written, b) }
	c.Stay(tickAt(-1, time.Microsecond))
	c.Stay(tickAt(10*time.Millisecond, time.Microsecond))
	c.Stay(tickAt(20*time.Millisecond, 4*time.Microsecond))
	cpu := fill(t, c)
	if cpu.Breaks != 2 || c.Breaks() != 2 || len(written) != 2 {
		t.Errorf("%d breaks, %d in all, %d written; want 2, without the one before the beginning", cpu.Breaks, c.Breaks(), len(written))
	}
	if cpu.Kernel != 5*time.Microsecond || cpu.User != 20*time.Millisecond {
		t.Errorf("in the kernel for %v, in user mode for %v", cpu.Kernel, cpu.User)
	}
	cause := cpu.Causes[0]
	if len(cpu.Causes) != 1 || cause.ID != "tick" || cause.Count != 2 || cause.Total != 5*time.Microsecond ||
		cause.Avg != 2500*time.Nanosecond || cause.Max != 4*time.Microsecond || cause.AtLeast || cause.Unmeasured != 0 {
		t.Errorf("causes %+v", cpu.Causes)
	}
	if b := written[1]; b.At != 20*time.Millisecond || b.Duration != 4*time.Microsecond || b.UserIP != "0x401136" || b.Quiet != 10*time.Millisecond ||
		len(b.Inside) != 3 || b.Inside[1].Detail != "tick_nohz_handler" || b.Inside[2].At != 900 || b.Inside[2].Duration != 400 {
		t.Errorf("written %+v", b)
	}
}

// Three breaks in one second are a cluster, and three in three seconds are none.
func TestSquares(t *testing.T) {
	for want, at := range map[uint64][]time.Duration{
		9: {0, 10 * time.Millisecond, 900 * time.Millisecond},
		5: {0, 1500 * time.Millisecond, 1900 * time.Millisecond},
		3: {0, time.Second, 2 * time.Second},
	} {
		c := newSample(t)
		for _, at := range at {
			c.Stay(tickAt(at, time.Microsecond))
		}
		if got := fill(t, c).Causes[0]; got.Squares != want || got.Count != 3 {
			t.Errorf("%v: %d, want %d", at, got.Squares, want)
		}
	}
}

// What threads wait by their own choice is in no other sum, and what a stay took of another CPU is that one's.
func TestWaitedIsASumOfItsOwn(t *testing.T) {
	c := newSample(t)
	s := stayAt(0, 10*time.Millisecond, event.Event{Kind: event.SyscallEnter, A: 232})
	s.Waited, s.Spent = 9*time.Millisecond, []stay.Spent{{CPU: 3, Kernel: 400 * time.Microsecond, Waited: 5 * time.Millisecond}, {CPU: 4, Kernel: 300 * time.Microsecond}}
	var b report.Break
	c.OnBreak = func(written report.Break) { b = written }
	c.Stay(s)
	var r report.Report
	c.Fill(&r, mustCPUs(t, 3, 4), mustCPUs(t, 3))
	if len(r.CPUs) != 2 || r.CPUs[0].Kernel != 400*time.Microsecond || r.CPUs[0].Waited != 5*time.Millisecond || r.CPUs[1].Kernel != 300*time.Microsecond || r.CPUs[1].Breaks != 0 {
		t.Fatalf("got %+v", r.CPUs)
	}
	cause := r.CPUs[0].Causes[0]
	if cause.Total != 700*time.Microsecond || cause.Max != cause.Total || cause.Waited != 5*time.Millisecond {
		t.Errorf("cause %+v", cause)
	}
	if b.Duration != time.Millisecond || b.Waited != 9*time.Millisecond || r.CPUs[0].Longest[0].Duration != b.Duration {
		t.Errorf("break %+v", b)
	}
}

// A stretch that began before the observation counts from its beginning.
func TestQuietStretches(t *testing.T) {
	c := newSample(t)
	c.Stay(tickAt(5*time.Millisecond, time.Microsecond)) // quiet for 10 ms
	unknown := tickAt(6*time.Millisecond, time.Microsecond)
	unknown.Quiet = -1
	c.Stay(unknown)
	short := tickAt(7*time.Millisecond, time.Microsecond)
	short.Quiet = 999
	c.Stay(short)
	c.Stretch(stay.Stretch{CPU: 3, TID: 5, Since: begin + time.Second, Until: begin + 2*time.Second})
	cpu := fill(t, c)
	want := []report.Bucket{{From: 0, Count: 1}, {From: time.Millisecond, Count: 1}, {From: time.Second, Count: 1}}
	if !slices.Equal(cpu.Quiet.Histogram, want) || cpu.Quiet.Longest != time.Second || cpu.Quiet.Unknown != 1 {
		t.Errorf("got %+v, want histogram %v", cpu.Quiet, want)
	}
	if cpu.User != time.Second+5*time.Millisecond+999 {
		t.Errorf("in user mode for %v", cpu.User)
	}
}

func TestDecade(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		0: 0, 999: 0, 1000: 1000, 9999: 1000, 10_000: 10_000, time.Hour: 1000 * time.Second, 1<<63 - 1: 1_000_000_000 * time.Second,
	} {
		if got := decade(d); got != want {
			t.Errorf("decade(%d): got %d, want %d", d, got, want)
		}
	}
}

func TestLongestAreKeptInOrder(t *testing.T) {
	c := newSample(t)
	for _, n := range rand.New(rand.NewPCG(1, 1)).Perm(200) {
		c.Stay(tickAt(time.Duration(n)*time.Millisecond, time.Duration(n)))
	}
	var got []time.Duration
	for _, b := range fill(t, c).Longest {
		got = append(got, b.Duration)
	}
	if want := []time.Duration{199, 198, 197, 196, 195, 194, 193, 192, 191, 190}; !slices.Equal(got, want) {
		t.Errorf("longest %v, want %v", got, want)
	}
}

func TestOriginsAreCountedBySender(t *testing.T) {
	c := newSample(t)
	for n := range time.Duration(3) {
		s := patchedBy(time.Second, event.Sender{PID: 1, Name: "init", Stack: []uint64{syncFunction, enterFunction}})
		s.Inside[1].Senders[0].Time += n // the first is under way longest
		c.Stay(s)
	}
	c.Stay(patchedBy(time.Second, event.Sender{PID: 2, Name: "bash"}))
	c.Stay(patchedBy(time.Second, event.Sender{PID: 1, Name: "init", Stack: []uint64{syncFunction, switchFunction}}))
	nobody := patchedBy(time.Second, event.Sender{})
	nobody.Inside[1].Senders = nil
	c.Stay(nobody)
	cause := fill(t, c).Causes[0]
	if cause.Count != 6 || cause.WithoutOrigin != 1 || len(cause.Origins) != 3 {
		t.Fatalf("got %+v, want 6 breaks, 3 origins and one without", cause)
	}
	first := cause.Origins[0]
	if first.Count != 3 || first.PID != 1 || first.MaxDelay != 3*time.Microsecond+500 || first.Function != "sample_ipi" ||
		!slices.Equal(first.Stack, []string{"sample_send", "__x64_sys_sample"}) {
		t.Errorf("first origin %+v", first)
	}
}

// A tick has no sender, and none is missed.
func TestNoOriginIsMissedWhereNoneCanBe(t *testing.T) {
	c := newSample(t)
	c.Stay(tickAt(0, time.Microsecond))
	if cause := fill(t, c).Causes[0]; cause.WithoutOrigin != 0 {
		t.Errorf("%d ticks without origin", cause.WithoutOrigin)
	}
}

func TestManySendersAreOthers(t *testing.T) {
	c := newSample(t)
	for pid := range uint32(3 * maxOrigins) {
		c.Stay(patchedBy(time.Second, event.Sender{PID: pid + 1, Name: fmt.Sprint("short-lived-", pid)}))
	}
	origins := fill(t, c).Causes[0].Origins
	if len(origins) != maxOrigins+1 || origins[0].Name != "others" || origins[0].Count != 2*maxOrigins {
		t.Errorf("%d origins, the first %+v; want %d and %d others", len(origins), origins[0], maxOrigins+1, 2*maxOrigins)
	}
}

func TestLostIntervalsAreBounded(t *testing.T) {
	c := newSample(t)
	for n := range time.Duration(maxLostIntervals + 5) {
		c.Lost(3, begin+n, begin+n+1, 2)
	}
	var r report.Report
	c.Fill(&r, mustCPUs(t, 3), mustCPUs(t, 3))
	if len(r.Lost.Intervals) != maxLostIntervals || r.Lost.OmittedIntervals != 5 || r.Lost.Events != 2*(maxLostIntervals+5) || r.CPUs[0].Lost != r.Lost.Events {
		t.Errorf("%d intervals and %d more, %d events, %d on the CPU", len(r.Lost.Intervals), r.Lost.OmittedIntervals, r.Lost.Events, r.CPUs[0].Lost)
	}
	if c.LostEvents() != r.Lost.Events {
		t.Errorf("progress says %d lost", c.LostEvents())
	}
}

// Only a complete observation without losses shows that a CPU was quiet.
func TestVerdict(t *testing.T) {
	for _, tc := range []struct {
		name     string
		complete []int
		happens  func(c *Collector)
		want     string
	}{
		{"no task", []int{3}, nil, report.VerdictUnknown},
		{"nothing", []int{3}, func(*Collector) {}, report.VerdictQuiet},
		{"a break", []int{3}, func(c *Collector) { c.Stay(tickAt(0, 1)) }, report.VerdictDisturbed},
		{"a break in the warm-up", []int{3}, func(c *Collector) { c.Stay(tickAt(-1, 1)) }, report.VerdictQuiet},
		{"a loss", []int{3}, func(c *Collector) { c.Lost(3, begin, begin+1, 1) }, report.VerdictUnknown},
		{"a loss elsewhere", []int{3}, func(c *Collector) { c.Lost(2, begin, begin+1, 1) }, report.VerdictQuiet},
		{"a loss and a break", []int{3}, func(c *Collector) { c.Lost(3, begin, begin+1, 1); c.Stay(tickAt(2, 1)) }, report.VerdictDisturbed},
		{"no context tracking", nil, func(*Collector) {}, report.VerdictUnknown},
	} {
		c := newSample(t)
		if tc.happens != nil {
			tc.happens(c)
			c.Stretch(stay.Stretch{CPU: 3, TID: 1, Since: begin, Until: begin + time.Second})
		}
		r := report.Report{Tracing: true, Duration: time.Second}
		c.Fill(&r, mustCPUs(t, 3), mustCPUs(t, tc.complete...))
		r.Judge(report.Scope{CPUs: mustCPUs(t, 3)})
		i := slices.IndexFunc(r.CPUs, func(c report.CPU) bool { return c.CPU == 3 })
		if i < 0 || r.CPUs[i].Verdict != tc.want {
			t.Errorf("%s: got %+v, want verdict %s", tc.name, r.CPUs, tc.want)
		}
	}
}

func TestNothingCountsBeforeTheBeginning(t *testing.T) {
	c := newSample(t)
	c.Begin(notYet)
	c.Stay(tickAt(0, 1))
	c.Lost(3, 0, begin, 1)
	if cpu := fill(t, c); cpu.Breaks != 0 || cpu.Lost != 0 {
		t.Errorf("got %+v", cpu)
	}
}
