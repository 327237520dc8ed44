// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"time"

	"github.com/taskiso/taskiso/internal/display"
)

// OtherThreads is the thread whose Isolation sums up those of threads that are not kept apart.
const OtherThreads = 0

// Isolation is what became of one thread's wish to be isolated.
type Isolation struct {
	TID uint32 `json:"tid"`
	IsolationCalls

	Entered  uint64        `json:"entered"`
	Left     uint64        `json:"left"` // because the thread wanted it
	Breaks   uint64        `json:"breaks"`
	Isolated time.Duration `json:"isolated_ns"`
	// Lost tells that events were lost: there may have been more.
	Lost   bool             `json:"lost,omitempty"`
	Causes []IsolationCause `json:"causes,omitempty"`
}

// IsolationCalls are the calls of a thread for isolation.
type IsolationCalls struct {
	// Attempts are its calls to enter; they were granted, or refused because the
	// thread was not on exactly one CPU for isolation (EINVAL) or because that
	// CPU did not become quiet in time (EAGAIN), or cut short by a signal.
	Attempts uint64 `json:"attempts"`
	Invalid  uint64 `json:"refused_einval"`
	NotQuiet uint64 `json:"refused_eagain"`
	Cut      uint64 `json:"interrupted"`
	// Settling is how long calls waited for the CPU to become quiet.
	Settling        time.Duration `json:"settling_ns"`
	LongestSettling time.Duration `json:"longest_settling_ns"`
	WaitedFor       []WaitedFor   `json:"waited_for,omitempty"`
}

// WaitedFor is what calls to enter waited for.
type WaitedFor struct {
	What  string `json:"what"`
	Calls uint64 `json:"calls"`
}

// IsolationCause is one cause of breaks of isolation. ID is empty if its stay
// was not seen as a whole.
type IsolationCause struct {
	ID      string   `json:"id,omitempty"`
	Title   string   `json:"title"`
	Detail  string   `json:"detail,omitempty"`
	Count   uint64   `json:"count"`
	Origins []Origin `json:"origins,omitempty"`
}

// isolation writes what became of each thread that asked to be isolated.
func (t *text) isolation(r *Report) {
	for i := range r.Isolation {
		thread := &r.Isolation[i]
		began := fmt.Sprintf("entered %s of %s", display.Count(thread.Entered), display.Plural(thread.Attempts, "attempt", "attempts"))
		if thread.Attempts == 0 {
			began = "armed " + display.Plural(thread.Entered, "time", "times")
		}
		t.Printf("\n%s  %s, isolated for %s, %s, left %s\n", t.Paint(display.Bold, isolationHeading(thread.TID)),
			began, display.Span(thread.Isolated), display.Plural(thread.Breaks, "break", "breaks"), display.Plural(thread.Left, "time", "times"))
		t.calls(thread)
		t.isolationCauses(thread)
		if thread.Lost {
			t.Printf("  events were lost: there may have been more\n")
		}
	}
}

func isolationHeading(tid uint32) string {
	if tid == OtherThreads {
		return "isolation of the other threads:"
	}
	return fmt.Sprintf("isolation of thread %d:", tid)
}

func (t *text) calls(thread *Isolation) {
	for _, refused := range []struct {
		n    uint64
		what string
	}{
		{thread.Invalid, "refused with EINVAL: the thread was not on exactly one isolated CPU that is observed"},
		{thread.NotQuiet, "refused with EAGAIN: the CPU did not become quiet" + thread.because()},
		{thread.Cut, "interrupted by a signal"},
	} {
		if refused.n > 0 {
			t.Printf("  %s× %s\n", display.Count(refused.n), refused.what)
		}
	}
	if thread.Attempts > 0 {
		t.Printf("  settled in %s on average, %s at most", display.Span(thread.Settling/time.Duration(thread.Attempts)), display.Span(thread.LongestSettling))
		for i, w := range thread.WaitedFor {
			t.Printf("%s%s× %s", [...]string{"; waited for ", ", "}[min(i, 1)], display.Count(w.Calls), w.What)
		}
		t.Printf("\n")
	}
}

// because names what calls waited for most often.
func (i *Isolation) because() string {
	if len(i.WaitedFor) == 0 {
		return ""
	}
	return ", most often because of: " + i.WaitedFor[0].What
}

func (t *text) isolationCauses(thread *Isolation) {
	if len(thread.Causes) == 0 {
		return
	}
	rows := [][]string{{"breaks", "cause and origin"}}
	for _, c := range thread.Causes {
		rows = append(rows, []string{display.Count(c.Count), name(c.Title, c.Detail)})
		for i, o := range c.Origins {
			if i == textOrigins {
				rows = append(rows, []string{"", others(len(c.Origins) - i)})
				break
			}
			rows = append(rows, []string{"", "  " + o.String()})
		}
	}
	t.Table(rows)
}
