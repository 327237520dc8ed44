// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
)

// width is the length of lines, of which most terminals have more.
const width = 100

// Text returns the list as a table, for people.
func (l List) Text() string {
	rows := [][]string{{"id", "what it is", "remedies"}}
	for _, c := range l.Causes {
		rows = append(rows, []string{c.ID, c.Title, strings.Join(c.Kinds(), ", ")})
	}
	var b bytes.Buffer
	display.WriteTable(&b, rows) // writing to memory cannot fail
	fmt.Fprintf(&b, "\n%d causes. \"taskiso explain ID\" explains one, \"taskiso explain FILE\" those of a report.\n", len(l.Causes))
	return b.String()
}

// Text returns the explanation, for people.
func (c Cause) Text() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s: %s\n\n", c.ID, c.Title)
	fold(&b, "  ", c.Explanation)
	if c.Visible != "" {
		b.WriteString("\n")
		fold(&b, "  ", "No event names it. It shows "+c.Visible+".")
	}
	fmt.Fprintf(&b, "\n  Remedies, for CPU %v of this machine\n", c.CPUs)
	for _, r := range c.Remedies {
		r.write(&b, "    ")
	}
	b.WriteString("\n")
	fold(&b, "  ", "Kernels: "+c.Kernels+".")
	fold(&b, "  ", "Sources: "+strings.Join(c.Sources, ", "))
	return b.String()
}

func (r Remedy) write(b *bytes.Buffer, indent string) {
	mark := map[cause.State]string{
		cause.Applies: "→", cause.AlreadySet: "✓", cause.Impossible: "✗", cause.Unknown: "?", cause.Asked: "?",
	}[r.State]
	text := r.String()
	switch r.State {
	case cause.AlreadySet:
		text += " (done already)"
	case cause.Asked:
		text += " (on the command line already; nothing shows whether it is in effect)"
	case cause.Impossible:
		text += " (not possible here: " + r.Obstacles() + ")"
	case cause.Unknown:
		text += " (could not be checked; as root more can be)"
	}
	foldWith(b, indent+mark+" ", indent+"  ", text)
}

// Text returns the explanation of each cause, for people.
func (r Report) Text() string {
	var b bytes.Buffer
	b.WriteString(printable.Line("%s: %s on %s", r.File, r.Task.Kind, r.Kernel))
	if r.Kernel != r.Here {
		fmt.Fprintf(&b, "Remedies are judged for this machine, which runs %s.\n", r.Here)
	}
	for _, cpu := range r.CPUs {
		b.WriteString("\n" + printable.Line("CPU %d: %s", cpu.CPU, r.found(cpu)))
		explained := make(map[string]bool)
		for _, c := range cpu.Causes {
			c.write(&b, explained[c.Seen.ID])
			explained[c.Seen.ID] = true
		}
	}
	if len(r.Limits) > 0 {
		b.WriteString("\nLimits\n")
	}
	for _, limit := range r.Limits {
		foldWith(&b, "  - ", "    ", limit)
	}
	return b.String()
}

// found sums up what was seen on one CPU: by noise gaps, and else breaks.
func (r Report) found(cpu CPU) string {
	if r.Task.Kind == "noise" {
		return display.Count(cpu.Breaks) + " gaps"
	}
	return fmt.Sprintf("%s, %s breaks", cpu.Verdict, display.Count(cpu.Breaks))
}

// write explains the cause unless the text has explained it already.
func (s Seen) write(b *bytes.Buffer, explained bool) {
	b.WriteString("\n" + printable.Line("  %s", s.headline()))
	if !explained {
		fold(b, "    ", s.explanation())
	}
	for _, o := range s.Seen.Origins {
		fold(b, "    ", o.String())
	}
	if s.Seen.WithoutOrigin > 0 {
		fmt.Fprintf(b, "    %s× origin unknown\n", display.Count(s.Seen.WithoutOrigin))
	}
	if explained || s.Explanation == nil {
		return
	}
	for _, r := range s.Explanation.Remedies {
		r.write(b, "    ")
	}
}

func (s Seen) explanation() string {
	if s.Explanation == nil {
		return "This taskiso knows no cause " + s.Seen.ID + ": the report is of another version."
	}
	return s.Explanation.Explanation
}

func (s Seen) headline() string {
	what := s.Seen.Title
	if s.Seen.Detail != "" {
		what += ": " + s.Seen.Detail
	}
	line := fmt.Sprintf("%s (%s): %s×", what, s.Seen.ID, display.Count(s.Seen.Count))
	if s.Seen.Unmeasured < s.Seen.Count {
		line += fmt.Sprintf(", %s together, longest %s", display.Span(s.Seen.Total), display.Span(s.Seen.Max))
	}
	return line
}

// fold writes text in lines that begin with indent.
func fold(b *bytes.Buffer, indent, text string) { foldWith(b, indent, indent, text) }

// foldWith writes text in lines, of which the first begins differently.
func foldWith(b *bytes.Buffer, first, indent, text string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		word = printable.Text(word)
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			b.WriteString(line + "\n")
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	b.WriteString(line + "\n")
}
