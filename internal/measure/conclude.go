// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"fmt"
	"slices"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
)

// collectors are those of all loops, by CPU. They are given gaps and stays, and know nothing else, so that a recording of these gives
// the same once more.
type collectors map[int]*noise.Collector

// stay takes in what the tracer saw.
func (all collectors) stay(b report.Break) {
	c := all[b.CPU]
	if c == nil {
		return
	}
	s := noise.Stay{At: b.At, Duration: b.Duration, AtLeast: b.AtLeast, ID: b.ID, Title: b.Title, Detail: b.Detail}
	for _, p := range b.Inside {
		line := fmt.Sprintf("after %s %s", display.Span(p.At), p.Event)
		if p.Detail != "" {
			line += " " + p.Detail
		}
		if p.Duration > 0 {
			line += ", " + display.Span(p.Duration)
		}
		s.Story = append(s.Story, line)
	}
	for _, o := range b.Origins {
		s.Who = append(s.Who, o.String())
	}
	c.Stay(s)
}

// conclude returns the report of what became of the measurement, and of what the tracer has seen.
func (all collectors) conclude(end *noise.End, seen *report.Report) *noise.Report {
	r := end.Report
	r.CPUs, r.Duration, r.Exceeded = nil, 0, nil
	r.Limits = slices.Concat([]string{}, end.Before, seen.Limits, end.After)
	for _, loop := range end.Loops {
		collector := all[loop.CPU]
		if collector == nil {
			continue // of a damaged recording
		}
		c := collector.Finish(loop, r.EndedBy != noise.DoubtUnended && complete(seen, loop.CPU))
		c.Interrupts = countInterrupts(seen, loop.CPU)
		r.Duration = max(r.Duration, c.Ran)
		r.CPUs = append(r.CPUs, c)
		if e := collector.Exceeded(); e != nil && r.Exceeded == nil {
			r.Exceeded = e
		}
	}
	return &r
}

// countInterrupts compares the tracer's counts with the kernel's.
func countInterrupts(seen *report.Report, cpu int) *noise.Interrupts {
	for _, c := range seen.CPUs {
		if c.CPU != cpu || c.Interrupts == nil {
			continue
		}
		n := new(noise.Interrupts)
		for _, row := range c.Interrupts.Rows {
			if row.Seen != nil {
				n.Kernel += row.Kernel
				n.Seen += *row.Seen
				n.MayDiffer += row.MayDiffer
			}
		}
		return n
	}
	return nil
}

// complete reports whether the tracer can have missed nothing on a CPU.
func complete(seen *report.Report, cpu int) bool {
	for _, c := range seen.CPUs {
		if c.CPU == cpu {
			return seen.Tracing && c.Lost == 0 && (c.Preempted == 0 || seen.Lost.Missed == 0)
		}
	}
	return false
}
