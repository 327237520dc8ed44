// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"fmt"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
)

// sum is what several CPUs have together.
type sum struct {
	cpus                 cpulist.Set
	breaks               uint64
	user, kernel, waited time.Duration
	whole                time.Duration // that they were observed
	longest, quiet       time.Duration // break, and time without any
}

// sumOf sums up the CPUs of a verdict, or all of them.
func (s *screen) sumOf(verdict string) sum {
	var all sum
	for i := range s.report.CPUs {
		if c := &s.report.CPUs[i]; verdict == "" || c.Verdict == verdict {
			all.add(c, s.report.Duration)
		}
	}
	return all
}

func (s *sum) add(c *report.CPU, observed time.Duration) {
	if cpu, err := cpulist.New(c.CPU); err == nil {
		s.cpus = s.cpus.Union(cpu)
	}
	s.breaks += c.Breaks
	s.user += c.User
	s.kernel += c.Kernel
	s.waited += c.Waited
	s.whole += observed
	for i := range c.Causes {
		s.longest = max(s.longest, c.Causes[i].Max)
	}
	s.quiet = max(s.quiet, c.Quiet.Longest)
}

// breaksOf counts the breaks of an observation that took so long.
func (s *sum) breaksOf(observed time.Duration) string {
	text := display.Plural(s.breaks, "break", "breaks")
	if s.breaks == 0 {
		return text
	}
	if rate := float64(s.breaks) / observed.Seconds(); observed > 0 && rate >= 1 {
		text += fmt.Sprintf(" (%s/s)", display.Count(uint64(rate)))
	}
	return text + fmt.Sprintf(", %s of the time, longest %s", percent(s.kernel, s.whole), display.Span(s.longest))
}

// undisturbed is how long tasks were left alone.
func (s *sum) undisturbed() string {
	text := fmt.Sprintf("  user mode %s (%s)", display.Span(s.user), percent(s.user, s.whole))
	if s.quiet > 0 {
		text += ", longest stretch without a break " + display.Span(s.quiet)
	}
	return text
}

func percent(part, whole time.Duration) string {
	if whole <= 0 || part < 0 || part > whole {
		return "? %"
	}
	switch p := 100 * float64(part) / float64(whole); {
	case p == 0:
		return "0 %"
	case p < 0.01:
		return "below 0.01 %"
	case p < 1:
		return fmt.Sprintf("%.2f %%", p)
	default:
		return fmt.Sprintf("%.1f %%", p)
	}
}

// cpus are those that were observed.
func (s *screen) cpus() cpulist.Set { return s.sumOf("").cpus }

// incomplete are the CPUs on which nothing reports every kernel entry.
func (s *screen) incomplete() cpulist.Set {
	var cpus cpulist.Set
	for _, c := range s.report.CPUs {
		if cpu, err := cpulist.New(c.CPU); err == nil && !c.Complete && c.Breaks > 0 {
			cpus = cpus.Union(cpu)
		}
	}
	return cpus
}
