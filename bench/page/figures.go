// SPDX-License-Identifier: Apache-2.0

package page

import (
	"fmt"
	"math"

	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/internal/plot"
)

// bars draws a column of a table.
func bars(t *results.Table, column int, title, subtitle string) *plot.Bars {
	c := &plot.Bars{Title: title, Subtitle: subtitle}
	for _, r := range t.Rows {
		median := results.Median(r.Values[column])
		if math.IsNaN(median) { // not measured
			continue
		}
		c.Bars = append(c.Bars, plot.Bar{Name: r.Name, Value: median, Label: results.Number(median), Ours: r.Ours})
	}
	return c
}

func (s source) observers() (figure, error) {
	t, err := s.readTable("observers", "system calls")
	if err != nil {
		return nil, err
	}
	return bars(t, 0, "What observing adds to a system call", "getppid on the observed CPU, "+t.Unit+" a call; less is better"), nil
}

func (s source) silence() (figure, error) {
	t, err := s.readTable("silence", "interrupts")
	if err != nil {
		return nil, err
	}
	last := len(t.Columns) - 1
	return bars(t, last, "Interrupts of an observed, isolated CPU "+t.Unit, "Linux "+t.Columns[last]+" in a virtual machine; less is better"), nil
}

// noise draws how often gaps reached each length, by tool.
func (s source) noise() (figure, error) {
	c := &plot.Lines{
		Title: "Gaps on a CPU beside oslat", Subtitle: "medians, the other CPU idle",
		XTitle: "length", YTitle: "gaps at least that long, in a second",
		XLabel: plot.Duration, YLabel: func(v float64) string { return fmt.Sprintf("%g", v) },
	}
	t, err := s.readTable("noise", "gaps, the other CPU idle")
	if err != nil {
		return nil, err
	}
	for _, r := range t.Rows {
		if r.Name == "cyclictest" { // it measures when a sleeper wakes, not gaps
			continue
		}
		line := plot.Line{Name: r.Name, Points: true}
		for i, column := range t.Columns {
			var us float64
			if _, err := fmt.Sscanf(column, "%f µs", &us); err != nil {
				return nil, fmt.Errorf("parsing the column %q: %w", column, err)
			}
			line.X = append(line.X, us*1000)
			line.Y = append(line.Y, results.Median(r.Values[i]))
		}
		c.Lines = append(c.Lines, line)
	}
	return c, nil
}
