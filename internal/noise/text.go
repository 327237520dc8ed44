// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
)

// WriteText writes r for people to read.
func WriteText(w io.Writer, r *Report) error {
	var b bytes.Buffer
	writeHeader(&b, r)
	writeSummary(&b, r)
	for i := range r.CPUs {
		writeCPU(&b, r, &r.CPUs[i])
	}
	if r.Exceeded != nil {
		writeExceeded(&b, r.Exceeded)
	}
	if len(r.Limits) > 0 {
		fmt.Fprintf(&b, "\nlimits\n")
		for _, l := range r.Limits {
			b.WriteString(printable.Line("  - %s", l))
		}
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// WriteForeign writes a report that anybody can have written, whose texts it escapes in r: nothing in them can command a terminal.
func WriteForeign(w io.Writer, r *Report) error {
	printable.Escape(r)
	return WriteText(w, r)
}

func writeHeader(b *bytes.Buffer, r *Report) {
	b.WriteString("\n" + printable.Line("taskiso noise: %s on %s (%s)", display.Span(r.Duration), r.Host.Kernel, r.Host.Arch))
	fmt.Fprintf(b, "  gaps of %s or more between readings of %s; a reading takes %s, the shortest gap that could be seen is %s\n",
		display.Span(r.Loop.Threshold), r.Loop.Counter, display.Span(r.Loop.Sample), display.Span(r.Loop.Smallest))
	switch {
	case r.Loop.Why != "" && r.Loop.Counter == Clock:
		fmt.Fprintf(b, "  not the CPU's own counter: %s\n", r.Loop.Why)
	case r.Loop.Why != "":
		fmt.Fprintf(b, "  %s, but the kernel's clock is made of it; if its rate changed, neither would show that\n", r.Loop.Why)
	}
	fmt.Fprintln(b)
}

func writeSummary(b *bytes.Buffer, r *Report) {
	head := []string{"CPU", "runtime", "noise", "% available", "gaps", "samples/s"}
	for _, p := range percents {
		head = append(head, fmt.Sprintf("p%g", p))
	}
	rows := [][]string{append(head, "longest")}
	for i := range r.CPUs {
		c := &r.CPUs[i]
		row := []string{fmt.Sprint(c.CPU), display.Span(c.Ran), display.Span(c.Total), fmt.Sprintf("%.6f", c.Available), display.Count(c.Gaps), perSecond(c.Samples, c.Ran)}
		for _, p := range c.Percentiles {
			row = append(row, display.Span(p.Length))
		}
		for len(row) < len(head) {
			row = append(row, "")
		}
		longest := ""
		if len(c.Longest) > 0 {
			longest = display.Span(c.Longest[0].Length)
		}
		rows = append(rows, append(row, longest))
	}
	display.WriteTable(b, rows) // a buffer does not fail
}

func perSecond(n uint64, d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return display.Count(uint64(float64(n) / d.Seconds()))
}

func writeCPU(b *bytes.Buffer, r *Report, c *CPU) {
	fmt.Fprintf(b, "\nCPU %d\n", c.CPU)
	rows := [][]string{{"gaps", "together", "longest", "of them"}}
	add := func(s Share, what string) {
		if s.Count > 0 {
			rows = append(rows, []string{display.Count(s.Count), display.Span(s.Total), display.Span(s.Max), what})
		}
	}
	add(c.Recorded, "recorded: the kernel was entered")
	for _, cause := range c.Causes {
		add(cause.Share, "  "+title(cause.Title, cause.Detail))
	}
	add(c.Unexplained, "unexplained: no kernel entry was seen; "+suspects(c))
	add(c.Unknown, "unknown"+unknownBecause(r, c))
	if len(rows) > 1 {
		display.WriteTable(b, rows)
	} else {
		fmt.Fprintf(b, "  no gap\n")
	}
	if r.Tracing {
		fmt.Fprintf(b, "  kernel entries in which there was no gap that long: %s\n", display.Count(c.Unseen))
	}
	if i := c.Interrupts; i != nil {
		fmt.Fprintf(b, "  interrupts: the kernel counted %s, the tracer saw %s", display.Count(i.Kernel), display.Count(i.Seen))
		if i.MayDiffer > 0 {
			fmt.Fprintf(b, "; up to %s may have arrived during the read", display.Count(i.MayDiffer))
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintf(b, "  taken by the hypervisor, as far as it reports: %s\n", display.Span(c.Steal))
	if c.SMIs != nil {
		fmt.Fprintf(b, "  system management interrupts, from before the loop to after it: %s\n", display.Count(*c.SMIs))
	}
	writeTrouble(b, c)
	if len(c.Longest) == 0 {
		return
	}
	rows = [][]string{{"at", "length", "cause"}}
	for i := range c.Longest {
		g := &c.Longest[i]
		rows = append(rows, []string{display.Span(g.At), display.Span(g.Length), causeOf(r, c, g)})
	}
	display.WriteTable(b, rows)
}

func suspects(c *CPU) string {
	const below = "hypervisor, firmware (SMI), or a hole in what taskiso sees"
	if n := c.Interrupts.Unseen(); n > 0 {
		return fmt.Sprintf("%s: up to %s can be interrupts that it was not notified of", below, display.Count(min(n, c.Unexplained.Count)))
	}
	return below
}

func unknownBecause(r *Report, c *CPU) string {
	switch {
	case !r.Tracing:
		return ": nothing was traced"
	case c.Unlisted > 0:
		return fmt.Sprintf(": events were lost, or gaps came too fast (%s did)", display.Count(c.Unlisted))
	}
	return ": events were lost"
}

// writeTrouble prints what makes the figures doubtful.
func writeTrouble(b *bytes.Buffer, c *CPU) {
	for _, t := range []struct {
		n    uint64
		what string
	}{
		{c.Beyond, "gaps were too long for the histogram"},
		{c.Backwards, "times the counter went back: what was measured then is not in the figures"},
		{c.Jumps, "times counter and clock no longer agreed: the counter was set, or changed its rate"},
	} {
		if t.n > 0 {
			fmt.Fprintf(b, "  %s %s\n", display.Count(t.n), t.what)
		}
	}
	if c.MovedTo != nil {
		fmt.Fprintf(b, "  the loop was moved to CPU %d; CPU %d went offline, or somebody set the thread's affinity\n", *c.MovedTo, c.CPU)
	}
}

func causeOf(r *Report, c *CPU, g *ExplainedGap) string {
	switch {
	case g.Stay == nil && (!r.Tracing || c.Unknown.Count > 0):
		return "unknown"
	case g.Stay == nil:
		return "unexplained"
	}
	s := title(g.Stay.Title, g.Stay.Detail)
	switch {
	case g.Stays == 2:
		s += ", and a shorter stay"
	case g.Stays > 2:
		s += fmt.Sprintf(", and %d shorter stays", g.Stays-1)
	}
	return s
}

func title(title, detail string) string {
	if detail == "" {
		return title
	}
	return title + ": " + detail
}

func writeExceeded(b *bytes.Buffer, e *Exceeded) {
	fmt.Fprintf(b, "\nthe gap that exceeded --trace-limit: %s on CPU %d at %s\n", display.Span(e.Gap.Length), e.CPU, display.Span(e.Gap.At))
	s := e.Gap.Stay
	if s == nil {
		fmt.Fprintf(b, "  no kernel entry was seen in it\n")
		return
	}
	b.WriteString(printable.Line("  %s; %s of it recorded, %s after it began", title(s.Title, s.Detail), display.Span(s.Duration), display.Span(max(0, s.At-e.Gap.At))))
	for _, line := range append(append([]string{}, s.Story...), s.Who...) {
		fmt.Fprintf(b, "  %s\n", line)
	}
}

// WriteHistogram writes how many gaps there were of each length, in microseconds,
// a column for each CPU, in the form that rtla gives its histograms.
func WriteHistogram(w io.Writer, r *Report, records []*Record) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# taskiso noise histogram\n# Time unit is microseconds (us), lengths are exact to three digits\n# Duration: %s\n# Threshold: %g\n", r.Duration, inMicroseconds(r.Loop.Threshold))
	fmt.Fprintf(&b, "%-12s", "Index")
	for i := range r.CPUs {
		fmt.Fprintf(&b, " %11s", fmt.Sprintf("CPU-%03d", r.CPUs[i].CPU))
	}
	fmt.Fprintln(&b)
	steps := make(map[int64][]uint64) // by microsecond, of each CPU
	for i, record := range records {
		for _, bar := range record.Histogram().Distribution() {
			step := bar.From / int64(time.Microsecond)
			if bar.Count > 0 && steps[step] == nil {
				steps[step] = make([]uint64, len(records))
			}
			if bar.Count > 0 {
				steps[step][i] += uint64(bar.Count)
			}
		}
	}
	for _, step := range slices.Sorted(maps.Keys(steps)) {
		fmt.Fprintf(&b, "%-12d", step)
		for _, n := range steps[step] {
			fmt.Fprintf(&b, " %11d", n)
		}
		fmt.Fprintln(&b)
	}
	writeTotals(&b, r)
	_, err := w.Write(b.Bytes())
	return err
}

func writeTotals(b *bytes.Buffer, r *Report) {
	for _, row := range []struct {
		name string
		of   func(*CPU) any
	}{
		{"over:", func(c *CPU) any { return c.Beyond }},
		{"count:", func(c *CPU) any { return c.Gaps }},
		{"avg:", func(c *CPU) any { return fmt.Sprintf("%.2f", inMicroseconds(c.Total)/max(1, float64(c.Gaps))) }},
		{"max:", func(c *CPU) any { return fmt.Sprintf("%.2f", inMicroseconds(c.longest())) }},
	} {
		fmt.Fprintf(b, "%-12s", row.name)
		for i := range r.CPUs {
			fmt.Fprintf(b, " %11v", row.of(&r.CPUs[i]))
		}
		fmt.Fprintln(b)
	}
}

func (c *CPU) longest() time.Duration {
	if len(c.Longest) == 0 {
		return 0
	}
	return c.Longest[0].Length
}

func inMicroseconds(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// WriteLog writes the lengths of gaps, in nanoseconds, in HdrHistogram's log format,
// a line for each CPU.
func WriteLog(w io.Writer, r *Report, records []*Record) error {
	log := hdrhistogram.NewHistogramLogWriter(w)
	began := r.Started.UnixMilli()
	err := errors.Join(
		log.OutputComment("[Logged with taskiso noise]"),
		log.OutputLogFormatVersion(),
		log.OutputStartTime(began),
		log.OutputLegend(),
	)
	for i, record := range records {
		h := record.Histogram()
		h.SetTag(fmt.Sprintf("CPU-%03d", r.CPUs[i].CPU))
		h.SetStartTimeMs(began)
		h.SetEndTimeMs(began + r.CPUs[i].Ran.Milliseconds())
		err = errors.Join(err, log.OutputIntervalHistogram(h))
	}
	if err != nil {
		return fmt.Errorf("writing the histogram log: %w", err)
	}
	return nil
}

// ticksPerHalfDistance is what HdrHistogram's own tools use by default.
const ticksPerHalfDistance = 5

// WritePercentiles writes the lengths of all gaps on all CPUs, in microseconds, in
// the form that HdrHistogram's tools plot (.hgrm).
func WritePercentiles(w io.Writer, records []*Record) error {
	all := hdrhistogram.New(1, int64(longestCounted), significantDigits)
	for _, r := range records {
		if dropped := all.Merge(r.Histogram()); dropped > 0 {
			return fmt.Errorf("adding up histograms: %d gaps were out of range", dropped)
		}
	}
	if _, err := all.PercentilesPrint(w, ticksPerHalfDistance, float64(time.Microsecond)); err != nil {
		return fmt.Errorf("writing percentiles: %w", err)
	}
	return nil
}
