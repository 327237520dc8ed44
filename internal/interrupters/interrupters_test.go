// SPDX-License-Identifier: Apache-2.0

package interrupters

import (
	"bytes"
	"fmt"
	"slices"
	"testing"
	"time"

	pprof "github.com/google/pprof/profile"

	"github.com/taskiso/taskiso/internal/report"
)

// written returns the samples of a profile after it was written and read, each as one line.
func written(t *testing.T, p *Profile) []string {
	t.Helper()
	var out bytes.Buffer
	r := report.Report{Started: time.Unix(5, 0), Duration: time.Second, Doubts: []report.Doubt{{Text: "events were lost"}}}
	if err := p.Write(&out, &r); err != nil {
		t.Fatal(err)
	}
	read, err := pprof.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	if read.TimeNanos != 5e9 || read.DurationNanos != 1e9 || read.DefaultSampleType != "time" {
		t.Errorf("the profile is of %d, %d ns long, by %s", read.TimeNanos, read.DurationNanos, read.DefaultSampleType)
	}
	if !slices.Equal(read.Comments, []string{"in doubt: events were lost"}) {
		t.Errorf("comments are %q", read.Comments)
	}
	var lines []string
	for _, s := range read.Sample {
		var frames []string
		for _, l := range s.Location {
			frames = append(frames, l.Line[0].Function.Name)
		}
		lines = append(lines, fmt.Sprint(s.Value, s.Label, frames))
	}
	slices.Sort(lines)
	return lines
}

// Each break counts with the stack of its sender, outermost the process; two senders share its time, and nothing of it is lost.
func TestProfile(t *testing.T) {
	call := report.Break{
		CPU: 3, ID: "ipi-call", Title: "function call", Detail: "do_sync_core", Duration: 30,
		Origins: []report.Origin{{Name: "ftrace", PID: 7, Stack: []string{"smp_call", "do_syscall_64"}}},
	}
	both := call
	both.Origins = append(slices.Clone(call.Origins), report.Origin{Name: "idle", PID: 0, Interrupt: true, Stack: []string{"smp_call", "asm_sysvec_x"}})
	p := New()
	p.Add(call)
	p.Add(call)
	p.Add(both)
	p.Add(report.Break{CPU: 2, ID: "tick", Title: "tick", Duration: 5})
	want := []string{
		"[1 15] map[cause:[ipi-call] cpu:[3]] [function call: do_sync_core smp_call asm_sysvec_x interrupts of idle (process 0)]",
		"[1 5] map[cause:[tick] cpu:[2]] [tick no sender seen]",
		"[3 75] map[cause:[ipi-call] cpu:[3]] [function call: do_sync_core smp_call do_syscall_64 ftrace (process 7)]",
	}
	if got := written(t, p); !slices.Equal(got, want) {
		t.Errorf("the profile has\n%q\nwant\n%q", got, want)
	}
}

// A hostile task can have as many names as it likes: the profile has a bound, and the rest counts as others.
func TestProfileIsBounded(t *testing.T) {
	p := New()
	const more = 100
	for i := range maxStacks + more {
		p.Add(report.Break{CPU: 1, ID: "task-user", Title: "another task ran", Detail: fmt.Sprint(i), Duration: 1})
	}
	lines := written(t, p)
	if want := fmt.Sprintf("[%d %d] map[cpu:[1]] [others]", more, more); len(lines) != maxStacks+1 || !slices.Contains(lines, want) {
		t.Errorf("%d stacks, and no %q", len(lines), want)
	}
}
