// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/total"
)

// A task that renames itself before each wake-up, and wakes from ever new
// processes, cannot make the report grow without bound; all of it is counted.
func TestNamesDoNotGrowTheReport(t *testing.T) {
	sizes := make(map[int]int)
	for _, n := range []int{20_000, 40_000} {
		c := newSample(t)
		for i := range n {
			waker := event.Sender{PID: uint32(10 + i), Name: fmt.Sprintf("waker%d", i), Stack: []uint64{syncFunction, sysvecFunction}}
			s := preemptedBy(time.Duration(i)*time.Microsecond, 100, fmt.Sprintf("name%d", i%600), sentBy(event.SendWake, waker))
			s.TID = uint32(i)
			c.Stay(s)
		}
		r := newReport(t, report.Task{Kind: "command"})
		c.Fill(r, mustCPUs(t, 3), mustCPUs(t))
		var breaks, origins uint64
		others := false
		for _, cause := range r.CPUs[0].Causes {
			breaks += cause.Count
			for _, o := range cause.Origins {
				origins += o.Count
			}
			others = others || cause.Detail == "others"
		}
		if breaks != uint64(n) || origins != uint64(n) || r.Task.Threads != n {
			t.Errorf("%d breaks, %d origins, %d threads; want %d of each", breaks, origins, r.Task.Threads, n)
		}
		if got := len(r.CPUs[0].Causes); got > total.MaxApart+1 || !others {
			t.Errorf("%d causes, those that are not kept apart among them: %v", got, others)
		}
		if all := strings.Join(r.Limits, "\n"); !strings.Contains(all, "only 512 causes") || !strings.Contains(all, "only 4096 origins") {
			t.Errorf("limits %q do not name the bounds", all)
		}
		var b bytes.Buffer
		if err := display.Report(&b, r); err != nil {
			t.Fatal(err)
		}
		sizes[n] = b.Len()
	}
	if sizes[40_000] > sizes[20_000]+sizes[20_000]/50 { // some figures have a digit more
		t.Errorf("the report grows: %v bytes", sizes)
	}
}

func TestIsolationsAreBounded(t *testing.T) {
	c := newSample(t)
	const threads = 5000
	for i := range uint32(threads) {
		at := begin + time.Duration(i)*time.Millisecond
		c.Isolation(event.Event{Kind: event.Isolated, TID: 1000 + i, Time: at, A: uint64(i % 256)})
		c.Isolation(event.Event{Kind: event.Broken, TID: 1000 + i, Time: at + time.Microsecond, A: uint64(i % 256), B: uint64(taskiso.Timer)})
	}
	// Two of those that are summed up are isolated at the same time.
	c.Isolation(event.Event{Kind: event.Isolated, TID: 7000, Time: begin, A: 1})
	c.Isolation(event.Event{Kind: event.Isolated, TID: 7001, Time: begin, A: 2})
	c.Isolation(event.Event{Kind: event.Left, TID: 7000, Time: begin + time.Second, A: 1})
	all := c.Isolations(begin + 2*time.Second)
	if len(all) != maxIsolations+1 {
		t.Fatalf("%d threads, want %d and the others", len(all), maxIsolations)
	}
	rest := uint64(threads - maxIsolations)
	others := all[0]
	if others.TID != report.OtherThreads || others.Breaks != rest || others.Entered != rest+2 || others.Left != 1 {
		t.Errorf("the others: %+v, want %d breaks", others, rest)
	}
	if want := 3*time.Second + time.Duration(rest)*time.Microsecond; others.Isolated != want {
		t.Errorf("the others were isolated for %v, want %v", others.Isolated, want)
	}
	if limits := strings.Join(c.bounds(), "\n"); !strings.Contains(limits, "only 1024 threads") {
		t.Errorf("limits %q do not name the bound", limits)
	}
}
