// SPDX-License-Identifier: Apache-2.0

package perfettotest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/report"
)

// Compare returns how a trace differs from the report of the same recording: in the time in user mode, in the number and the time of breaks
// by CPU and cause, and in what the counters have at their end.
func Compare(t *Trace, r *report.Report) []string {
	got := t.sums()
	want := make(map[string]int64)
	for _, cpu := range r.CPUs {
		on := fmt.Sprintf("CPU %d", cpu.CPU)
		add(want, on, "user mode", int64(cpu.User))
		for _, c := range cpu.Causes {
			what := c.ID + " " + c.Detail
			add(want, on, what, int64(c.Total))
			add(want, on, what+" waited", int64(c.Waited))
			add(want, on, what+" breaks", int64(c.Count))
		}
		add(want, on, "breaks", int64(cpu.Breaks))
		add(want, on, "time in breaks", int64(cpu.Kernel))
		add(want, on, "events lost", int64(cpu.Lost))
	}
	var differ []string
	for what := range got {
		if _, wanted := want[what]; !wanted {
			want[what] = 0
		}
	}
	for what, n := range want {
		if got[what] != n {
			differ = append(differ, fmt.Sprintf("%s: the trace has %d, and the report %d", what, got[what], n))
		}
	}
	slices.Sort(differ)
	return differ
}

func add(to map[string]int64, on, what string, n int64) {
	if n != 0 {
		to[on+": "+what] += n
	}
}

// sums returns the times of user mode and of breaks, and the last values of counters. Those of CPUs that were not observed are of losses only.
func (t *Trace) sums() map[string]int64 {
	sums := make(map[string]int64)
	for _, s := range t.Breaks() {
		on, what := t.Path(s.Track)[0], fmt.Sprint(s.Args["cause"], " ", text(s.Args["detail"]))
		add(sums, on, what, number(s.Args["time_ns"]))
		add(sums, on, what+" waited", number(s.Args["waited_ns"]))
		add(sums, on, what+" breaks", 1)
	}
	for _, s := range t.Slices {
		if path := t.Path(s.Track); s.Name == "user mode" && len(path) == 2 {
			add(sums, path[0], s.Name, int64(s.End-s.Start))
		}
	}
	last := make(map[uint64]int64)
	for _, v := range t.Values {
		last[v.Track] = v.Value
	}
	for track, value := range last {
		add(sums, t.Path(track)[0], t.Tracks[track].Name, value)
	}
	return sums
}

// Breaks returns the slices that are breaks.
func (t *Trace) Breaks() []*Slice {
	return slices.DeleteFunc(slices.Clone(t.Slices), func(s *Slice) bool {
		return s.Parent != nil || s.Args["cause"] == nil || !strings.HasPrefix(t.Path(s.Track)[0], "CPU ")
	})
}

// Senders returns the senders from which arrows lead to a break, or to what was done in it.
func (t *Trace) Senders(of *Slice) []*Slice {
	var senders []*Slice
	for _, s := range t.Slices {
		for _, id := range s.Starts {
			if slices.ContainsFunc(t.arrivals()[id], func(a *Slice) bool { return a == of || a.Parent != nil && top(a) == of }) {
				senders = append(senders, s)
			}
		}
	}
	return senders
}

// arrivals returns the slices at which each flow ends.
func (t *Trace) arrivals() map[uint64][]*Slice {
	if t.ends == nil {
		t.ends = make(map[uint64][]*Slice)
		for _, s := range t.Slices {
			for _, id := range s.Ends {
				t.ends[id] = append(t.ends[id], s)
			}
		}
	}
	return t.ends
}

// Flows returns what is wrong with the flows: each leads from one event to a later one.
func (t *Trace) Flows() []string {
	var wrong []string
	begun := make(map[uint64]*Slice)
	for _, s := range t.Slices {
		for _, id := range s.Starts {
			if begun[id] != nil || len(t.arrivals()[id]) != 1 {
				wrong = append(wrong, fmt.Sprintf("flow %d from %q has %d ends", id, s.Name, len(t.arrivals()[id])))
			}
			begun[id] = s
		}
	}
	for id, ends := range t.arrivals() {
		if from := begun[id]; from == nil || from.Start > ends[0].Start {
			wrong = append(wrong, fmt.Sprintf("flow %d leads to %q from %v", id, ends[0].Name, from))
		}
	}
	return wrong
}

func top(s *Slice) *Slice {
	for s.Parent != nil {
		s = s.Parent
	}
	return s
}

func text(v any) string {
	s, _ := v.(string)
	return s
}

func number(v any) int64 {
	n, _ := v.(int64)
	return n
}
