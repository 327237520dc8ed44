// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"fmt"
	"io"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/plot"
)

// WritePlot draws how often gaps of at least each length came, as SVG.
func WritePlot(w io.Writer, r *Report, records []*Record) error {
	c := plot.Lines{
		Title:    fmt.Sprintf("Gaps on %s in %s", r.Host.Kernel, display.Span(r.Duration)),
		Subtitle: fmt.Sprintf("gaps of %s or more; %s, read every %s", display.Span(r.Loop.Threshold), r.Loop.Counter, display.Span(r.Loop.Sample)),
		XTitle:   "length",
		YTitle:   "gaps at least that long, in a second",
		XLabel:   plot.Duration,
		YLabel:   func(v float64) string { return fmt.Sprintf("%g", v) },
	}
	for i := range r.CPUs {
		cpu := &r.CPUs[i]
		line := plot.Line{Name: fmt.Sprintf("CPU %d: %s gaps, %.6f %% available", cpu.CPU, display.Count(cpu.Gaps), cpu.Available)}
		if len(cpu.Longest) > 0 {
			line.Name += fmt.Sprintf("; longest %s: %s", display.Span(cpu.Longest[0].Length), causeOf(r, cpu, &cpu.Longest[0]))
		}
		line.Name = shortened(line.Name)
		line.X, line.Y = rates(records[i], cpu)
		c.Lines = append(c.Lines, line)
	}
	return c.WriteSVG(w)
}

// legendRoom is how many characters of a legend there is room for.
const legendRoom = 105

func shortened(name string) string {
	if runes := []rune(name); len(runes) > legendRoom {
		return string(runes[:legendRoom-1]) + "…"
	}
	return name
}

// rates returns lengths, in nanoseconds and ascending, and how many gaps of at least
// that length there were in a second.
func rates(record *Record, cpu *CPU) (lengths, perSecond []float64) {
	bars := record.Histogram().Distribution()
	longer := int64(cpu.Gaps)
	for _, b := range bars {
		if b.Count == 0 {
			continue
		}
		lengths = append(lengths, float64(b.From))
		perSecond = append(perSecond, float64(longer)/cpu.Ran.Seconds())
		longer -= b.Count
	}
	return lengths, perSecond
}
