// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
)

// Doubt is a reason why it is not known how many breaks there were, or whether a monitor holds. What
// is in doubt never passes.
type Doubt struct {
	Reason string `json:"reason"`        // one of the constants Doubt
	CPU    *int   `json:"cpu,omitempty"` // that it is about; missing if it is about all that was observed
	Text   string `json:"text"`
}

// Reasons for a doubt.
const (
	DoubtUntraced   = "untraced"      // kernel entries could not be seen at all
	DoubtNotBegun   = "not-begun"     // it ended within the warm-up
	DoubtNeverRan   = "never-ran"     // what was watched was never in user mode
	DoubtElsewhere  = "elsewhere"     // it ran on CPUs that were not observed
	DoubtLost       = "lost"          // events found no room
	DoubtMissed     = "missed"        // the recording of events was preempted
	DoubtUnrecorded = "unrecorded"    // an event shows that another was not recorded
	DoubtChildren   = "children"      // there were too many to watch them all
	DoubtInterrupts = "interrupts"    // the kernel counted others than were seen
	DoubtUntracked  = "not-nohz-full" // no break was seen, but nothing reports every one
	DoubtUnended    = "unended"       // the recording has no end
	DoubtPart       = "part"          // it is a part of a recording
)

// Scope is what an observation was to cover.
type Scope struct {
	CPUs   cpulist.Set   // empty if threads were followed to whichever CPU they ran on
	WarmUp time.Duration // left out of it
	// Unended tells that it comes from a recording that has no end.
	Unended bool
	Part    bool // it comes from a part of a recording
}

// Judge notes in r what is in doubt, and gives each CPU its verdict: after everything else is in r.
func (r *Report) Judge(s Scope) {
	r.Doubts = nil
	r.doubtAll(s)
	for i := range r.CPUs {
		c := &r.CPUs[i]
		if s.CPUs.IsEmpty() || s.CPUs.Contains(c.CPU) {
			r.doubt(c, s)
		}
		c.Verdict = r.verdict(c)
	}
	for i := range r.Monitors {
		r.doubtMonitor(&r.Monitors[i])
	}
}

// doubtAll notes what is in doubt about all that was observed.
func (r *Report) doubtAll(s Scope) {
	switch {
	case !r.Tracing:
		r.add(DoubtUntraced, nil, "kernel entries could not be seen")
		return
	case r.Duration == 0 && s.WarmUp > 0:
		r.add(DoubtNotBegun, nil, fmt.Sprintf("it ended within the warm-up of %v, before anything was observed", s.WarmUp))
		return
	case r.Duration == 0:
		r.add(DoubtNotBegun, nil, "it ended before anything was observed")
		return
	case s.CPUs.IsEmpty() && r.user() == 0 && !s.Part:
		r.add(DoubtNeverRan, nil, "no watched thread was seen in user mode")
	}
	if s.Unended {
		r.add(DoubtUnended, nil, "the recording has no end: events that were missed, and the kernel's own counts, are not known")
	}
	if s.Part {
		r.add(DoubtPart, nil, "it is a part of a recording: events that were missed, and the kernel's own counts, are known of the whole only")
	}
	for _, e := range r.Elsewhere {
		if !e.Expected {
			r.add(DoubtElsewhere, &e.CPU, e.String())
		}
	}
	if n := r.Lost.Children; n > 0 {
		r.add(DoubtChildren, nil, display.Plural(n, "child was", "children were")+" not watched: there were too many at once")
	}
}

func (r *Report) add(reason string, cpu *int, text string) {
	r.Doubts = append(r.Doubts, Doubt{reason, cpu, text})
}

// user is the time in user mode on all CPUs together.
func (r *Report) user() time.Duration {
	var sum time.Duration
	for _, c := range r.CPUs {
		sum += c.User
	}
	return sum
}

// doubt notes what is in doubt about one CPU.
func (r *Report) doubt(c *CPU, s Scope) {
	if r.doubts(DoubtNotBegun) {
		return
	}
	add := func(reason, format string, args ...any) { r.add(reason, &c.CPU, fmt.Sprintf(format, args...)) }
	if c.Lost > 0 {
		add(DoubtLost, "events of CPU %d were lost: %s", c.CPU, display.Count(c.Lost))
	}
	if c.Preempted > 0 && r.Lost.Missed > 0 { // elsewhere they are senders at most
		add(DoubtMissed, "events were missed, perhaps on CPU %d: %s", c.CPU, display.Count(r.Lost.Missed))
	}
	if c.Unrecorded > 0 {
		add(DoubtUnrecorded, "the kernel did not report every switch between tasks on CPU %d; missing at least: %s", c.CPU, display.Count(c.Unrecorded))
	}
	if rows := c.Interrupts.differing(); rows != "" {
		add(DoubtInterrupts, "interrupts of CPU %d as the kernel counted them and as seen differ: %s", c.CPU, rows)
	}
	switch {
	case c.Breaks > 0, s.Part: // at least so many; or what is missing was left out
	case c.User == 0 && !s.CPUs.IsEmpty():
		add(DoubtNeverRan, "no watched task was seen in user mode on CPU %d", c.CPU)
	case !c.Complete:
		add(DoubtUntracked, "no break was seen on CPU %d, which is not nohz_full: nothing reports every kernel entry there", c.CPU)
	}
}

func (r *Report) doubts(reason string) bool {
	return slices.ContainsFunc(r.Doubts, func(d Doubt) bool { return d.Reason == reason })
}

// About returns what is in doubt about a CPU or about everything.
func (r *Report) About(cpu int) []Doubt {
	return slices.DeleteFunc(slices.Clone(r.Doubts), func(d Doubt) bool {
		return d.CPU != nil && *d.CPU != cpu && d.Reason != DoubtElsewhere
	})
}

func (r *Report) verdict(c *CPU) string {
	switch {
	case c.Breaks > 0:
		return VerdictDisturbed
	case c.User == 0 || len(r.About(c.CPU)) > 0:
		return VerdictUnknown
	default:
		return VerdictQuiet
	}
}

// doubtMonitor lets no monitor hold on a CPU about which there is a doubt that matters to it.
func (r *Report) doubtMonitor(m *Monitor) {
	if m.Verdict != MonitorSatisfied {
		return
	}
	for _, d := range r.About(m.CPU) {
		switch {
		case d.Reason == DoubtUntracked, d.Reason == DoubtLost, d.Reason == DoubtMissed: // the monitor knows better which events it needs
		case d.Reason == DoubtNeverRan && !m.OfUserMode:
		case d.Reason == DoubtElsewhere && m.OfThreads: // what concerns it is recorded on every CPU
		default:
			m.Verdict, m.Reasons = MonitorUnknown, append(m.Reasons, d.Text)
		}
	}
}

// Unjudged is, in one line, why the number of breaks is not known, or "" if it is. Doubts of one kind can be left out.
func (r *Report) Unjudged(except ...string) string {
	texts := make([]string, 0, len(r.Doubts))
	for _, d := range r.Doubts {
		if !slices.Contains(except, d.Reason) {
			texts = append(texts, d.Text)
		}
	}
	return strings.Join(texts, "; ")
}

// LowerBound returns the CPUs on which breaks were seen, and others may have come that nothing reports.
func (r *Report) LowerBound() []int {
	var cpus []int
	for _, c := range r.CPUs {
		if c.Breaks > 0 && !c.Complete {
			cpus = append(cpus, c.CPU)
		}
	}
	return cpus
}

// differing names the rows of which the two counts differ, with both.
func (in *Interrupts) differing() string {
	if in == nil {
		return ""
	}
	var rows []string
	for _, row := range in.Rows {
		if row.Differ() {
			rows = append(rows, fmt.Sprintf("%s %s and %s", row.Name, display.Count(row.Kernel), display.Count(*row.Seen)))
		}
	}
	return strings.Join(rows, ", ")
}

// Elsewhere is how long watched tasks ran on a CPU that was not observed.
type Elsewhere struct {
	CPU int           `json:"cpu"`
	Ran time.Duration `json:"ran_ns"`
	// Expected is true if the command was started there on purpose.
	Expected bool `json:"expected"`
}

func (e *Elsewhere) String() string {
	return fmt.Sprintf("the task ran %s on CPU %d, which is not observed", display.Span(e.Ran), e.CPU)
}
