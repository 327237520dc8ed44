// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/report"
)

// footer is what else there is to be known, a line for each.
func (s *screen) footer() []line {
	var lines []line
	for _, more := range []struct{ style, text string }{
		{s.monitorsStyle(), s.monitors()},
		{"", cmp.Or(s.left(), s.loop())}, // a loop leaves nothing behind
		{"", s.isolation()},
		{"", s.holds()},
		{"", s.flight()},
		{display.Bold + display.Red, s.lost()},
	} {
		if more.text != "" {
			lines = append(lines, line{{more.style, more.text}})
		}
	}
	last := fmt.Sprintf("--full lists %s, every cause and every origin.", display.Plural(uint64(len(s.report.Limits)), "limit", "limits"))
	if s.lost() == "" {
		last = "0 events lost. " + last
	}
	return append(lines, line{{"", last}})
}

// unseen is what there is to be known where no break was seen: why nothing could be, and what the kernel counted, in so many lines.
func (s *screen) unseen(room int) []line {
	if s.report.Tracing {
		return nil
	}
	var lines []line
	if u := s.report.Usage; u != nil && u.Task != nil {
		lines = s.fold("  the kernel counted: ", fmt.Sprintf("%s page faults, %s context switches, user mode %s, kernel %s",
			display.Count(uint64(u.Task.MinorFaults+u.Task.MajorFaults)), display.Count(uint64(u.Task.Voluntary+u.Task.Involuntary)),
			display.Span(u.Task.User), display.Span(u.Task.System)))
	}
	for _, limit := range s.report.Limits {
		lines = append(lines, s.fold("  limit: ", limit)...)
	}
	return lines[:min(room, len(lines))]
}

// monitors names the verdicts of automata, the worst first.
func (s *screen) monitors() string {
	var texts []string
	for _, verdict := range []string{report.MonitorViolated, report.MonitorUnknown, report.MonitorSatisfied} {
		for _, m := range s.report.Monitors {
			if m.Verdict == verdict {
				texts = append(texts, fmt.Sprintf("%s %s on CPU %d", s.clean(m.Monitor), verdict, m.CPU))
			}
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return "monitors: " + strings.Join(texts, ", ")
}

func (s *screen) monitorsStyle() string {
	for _, m := range s.report.Monitors {
		if m.Verdict != report.MonitorSatisfied {
			return display.Yellow
		}
	}
	return display.Green
}

// left names the processes that ran on after the command.
func (s *screen) left() string {
	var names []string
	for _, p := range s.report.Task.Left {
		names = append(names, fmt.Sprintf("%s (process %d)", s.clean(p.Name), p.PID))
	}
	if len(names) == 0 {
		return ""
	}
	return "still running after the command: " + strings.Join(names, ", ")
}

// loop is what the busy loop saw itself: also what no kernel entry explains.
func (s *screen) loop() string {
	var gaps uint64
	var longest, together time.Duration
	for _, l := range s.report.Loop {
		gaps += l.Gaps
		longest = max(longest, l.Max)
		together += l.Total
	}
	if gaps == 0 {
		return ""
	}
	return fmt.Sprintf("the loop itself saw %s, longest %s, together %s", display.Plural(gaps, "gap", "gaps"), display.Span(longest), display.Span(together))
}

// isolation sums up the threads that were isolated.
func (s *screen) isolation() string {
	if len(s.report.Isolation) == 0 {
		return ""
	}
	var entered, refused, breaks uint64
	for i := range s.report.Isolation {
		thread := &s.report.Isolation[i]
		entered += thread.Entered
		refused += thread.Invalid + thread.NotQuiet + thread.Cut
		breaks += thread.Breaks
	}
	return fmt.Sprintf("isolation: entered %s, refused %s, %s", display.Plural(entered, "time", "times"), display.Count(refused), display.Plural(breaks, "break", "breaks"))
}

// holds sums up the operations of others.
func (s *screen) holds() string {
	outcomes := make(map[operation.Outcome]uint64)
	for _, h := range s.report.Holds {
		outcomes[h.Outcome]++
	}
	var texts []string
	for _, o := range []operation.Outcome{operation.Held, operation.Denied, operation.Reported, operation.Allowed, operation.NotHeld} {
		if n := outcomes[o]; n > 0 {
			texts = append(texts, fmt.Sprintf("%s %s", display.Count(n), o))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return "operations of others: " + strings.Join(texts, ", ")
}

// lost counts what was not recorded.
func (s *screen) lost() string {
	l := &s.report.Lost
	var texts []string
	for _, n := range []struct {
		count        uint64
		one, several string
	}{
		{l.Events, "event", "events"}, {l.Missed, "event that came while another was recorded", "events that came while another was recorded"},
		{l.Children, "child that was not watched", "children that were not watched"},
	} {
		if n.count > 0 {
			texts = append(texts, display.Plural(n.count, n.one, n.several))
		}
	}
	if len(texts) == 0 {
		return ""
	}
	return "lost: " + strings.Join(texts, ", ")
}

// flight is what became of a flight recorder, or why the snapshot was kept that the report is of.
func (s *screen) flight() string {
	switch r := s.report; {
	case r.Flight != nil:
		return s.clean("flight recorder: " + r.Flight.String())
	case r.Part != nil && r.Part.Snapshot != nil:
		return s.clean("snapshot, " + r.Part.Snapshot.String())
	}
	return ""
}
