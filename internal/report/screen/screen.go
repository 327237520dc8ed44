// SPDX-License-Identifier: Apache-2.0

// Package screen prints the first screen of a report: the verdict, what was done to the task, what it did itself, how long it
// waited, and what ends it. It fits a terminal, and counts what it leaves out.
package screen

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
)

// Lines is how many lines a screen has at most: a terminal has one more, which is the prompt's.
const Lines = 23

// Options are how a screen is printed.
type Options struct {
	Width  int // of the terminal, in columns
	Below  int // how many lines are printed after the screen, and are to be seen with it
	Sort   Order
	Colour bool
	ASCII  bool // the terminal has no other signs
}

// leastLines is how many lines a screen has, whatever is to be seen with it.
const leastLines = 16

// leastWidth is that of a table with its numbers and a few letters of each name.
const leastWidth = 40

// Write prints the screen of a report.
func Write(w io.Writer, r *report.Report, o Options) error {
	s := &screen{report: r, Options: o, width: max(leastWidth, o.Width)}
	var b bytes.Buffer
	for _, line := range s.lines() {
		line.write(&b, s.width, o.Colour)
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// screen is one in the making.
type screen struct {
	Options
	report *report.Report
	width  int
	groups []group
	ways   []*way // that end something, in the order of the legend
}

// lines lays the screen out: the verdict and the last lines are whole, causes and remedies share what is left.
func (s *screen) lines() []line {
	s.groups = groupsOf(s)
	top := append([]line{s.header()}, s.verdict()...)
	bottom := append([]line{nil}, s.footer()...)
	if len(s.groups) == 0 {
		return slices.Concat(top, s.unseen(Lines-len(top)-len(bottom)), bottom)
	}
	const blanks = 2
	t := newTable(s)
	legend := s.newLegend()
	left := max(leastLines, Lines-s.Below) - len(top) - len(bottom) - blanks - t.fixed()
	causes := share(left, len(s.groups), legend.least())
	ends := legend.lines(max(legend.fewest(), left-causes)) // which gives the ways their letters
	return slices.Concat(top, []line{nil}, t.lines(causes), []line{nil}, ends, bottom)
}

// share returns how many lines causes get, if the ways to end them want so many: ways come first as long as a few causes have
// a line.
func share(lines, causes, ways int) int {
	const fewWays, fewCauses = 5, 4
	return max(0, min(causes, max(lines-min(ways, fewWays), min(fewCauses, lines-2))))
}

// header names what was observed, where and for how long.
func (s *screen) header() line {
	r := s.report
	end := fmt.Sprintf(", %s", display.Span(r.Duration))
	if cpus := s.cpus(); !cpus.IsEmpty() {
		end += fmt.Sprintf(" on CPU %v", cpus)
	}
	if status := r.Task.Status; status != nil && r.Task.EndedBy == "duration" {
		end += ", ended by --duration"
	} else if status != nil && *status != 0 {
		end += fmt.Sprintf(", exit status %d", *status)
	}
	end += ", Linux " + s.clean(r.Host.Kernel)
	const name = "taskiso:"
	end = display.Cut(end, s.width*2/3)
	what := display.Cut(s.task(), s.width-len(name)-1-display.Width(end))
	return line{{display.Bold, name}, {"", " " + what + end}}
}

// task names what was observed.
func (s *screen) task() string {
	t := &s.report.Task
	switch t.Kind {
	case "process":
		return fmt.Sprintf("process %d", t.PID)
	case "thread":
		return fmt.Sprintf("thread %d", t.TID)
	case "cpus":
		return "every user task"
	case "command":
		return s.clean(strings.Join(t.Command, " "))
	default:
		return s.clean(t.Kind)
	}
}

// verdict is a line for the CPUs of each verdict, and what is to be known of the numbers.
func (s *screen) verdict() []line {
	var lines []line
	for _, verdict := range []string{report.VerdictDisturbed, report.VerdictUnknown, report.VerdictQuiet} {
		if sum := s.sumOf(verdict); !sum.cpus.IsEmpty() {
			lines = append(lines, s.verdictOf(verdict, &sum))
		}
	}
	if len(lines) == 0 {
		lines = append(lines, line{{display.Bold + display.Yellow, "unknown"}, {"", "  nothing was observed"}})
	}
	all, least := s.sumOf(""), s.incomplete()
	switch {
	case !least.IsEmpty():
		lines = append(lines, line{{"", fmt.Sprintf("  user mode %s (%s); numbers are lower bounds: CPU %v is not nohz_full", display.Span(all.user), percent(all.user, all.whole), least)}})
	case all.user > 0:
		lines = append(lines, line{{"", all.undisturbed()}})
	}
	return append(lines, s.doubts()...)
}

func (s *screen) verdictOf(verdict string, sum *sum) line {
	title := fmt.Sprintf("CPU %v: %s", sum.cpus, verdict)
	return line{{display.Bold + colourOf(verdict), title}, {"", "  " + sum.breaksOf(s.report.Duration)}}
}

func colourOf(verdict string) string {
	switch verdict {
	case report.VerdictQuiet:
		return display.Green
	case report.VerdictDisturbed:
		return display.Red
	default:
		return display.Yellow
	}
}

// doubts are the reasons why a verdict or a number is not known, in a few lines.
func (s *screen) doubts() []line {
	const most = 3
	var lines []line
	doubts := s.report.Doubts
	for i, d := range doubts {
		folded := s.fold("  unknown: ", d.Text)
		rest := len(doubts) - i
		if len(lines)+len(folded) > most || len(lines)+len(folded) == most && rest > 1 {
			more := fmt.Sprintf("%s; --full lists all", display.Plural(uint64(rest), "more reason", "more reasons"))
			return append(lines, line{{display.Yellow, "  unknown: "}, {"", more}})
		}
		lines = append(lines, folded...)
	}
	return lines
}

// fold breaks a text of the report into two lines at most, behind a heading.
func (s *screen) fold(heading, text string) []line {
	at := display.Width(heading)
	folded := display.Fold(cmp.Or(s.clean(text), "the report gives no reason"), s.width-at)
	lines := []line{{{display.Yellow, heading}, {"", folded[0]}}}
	if len(folded) > 1 {
		rest := display.Cut(strings.Join(folded[1:], " "), s.width-at)
		lines = append(lines, line{{"", strings.Repeat(" ", at) + rest}})
	}
	return lines
}
