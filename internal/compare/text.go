// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/total"
)

// Summary is the verdict in one line.
func (r *Result) Summary() string {
	n := map[Change]int{}
	for _, row := range r.Rows {
		n[row.Change]++
	}
	var parts []string
	for _, c := range []Change{Appeared, More, Less, Vanished} {
		if n[c] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n[c], c))
		}
	}
	text := fmt.Sprintf("%s: %s compared", r.Verdict, display.Plural(uint64(len(r.Rows)), "row", "rows"))
	if len(parts) > 0 {
		text += ", " + strings.Join(parts, ", ")
	}
	return text
}

// WriteText prints the verdict, then what differs, and with all what does not. Titles are cut so that lines have at most width columns.
func (r *Result) WriteText(w io.Writer, width int, all bool) error {
	var b strings.Builder
	fmt.Fprintln(&b, r.Summary())
	writeReasons(&b, "unknown because", r.Reasons)
	b.WriteString("\n" + printable.Line("%s", r.Before.line("before")) + printable.Line("%s", r.After.line("after")))
	if err := r.writeTable(&b, width, all); err != nil {
		return err
	}
	r.writeBelow(&b, all)
	writeReasons(&b, "limits", r.Limits)
	_, err := io.WriteString(w, b.String())
	return err
}

// writeBelow writes what the table does not show.
func (r *Result) writeBelow(b *strings.Builder, all bool) {
	var lines []string
	for _, m := range r.Moved {
		from, to := m.ends()
		lines = append(lines, fmt.Sprintf("moved: %s, as often as before, from %s %s to %s", m.title(), m.Of, from, to))
	}
	if hidden := r.notFound(); hidden > 0 && !all {
		lines = append(lines, display.Plural(uint64(hidden), "row", "rows")+" without a difference found: --all lists them, with how large it may be")
	}
	if len(lines) > 0 {
		fmt.Fprintf(b, "\n%s\n", strings.Join(lines, "\n"))
	}
}

func writeReasons(b *strings.Builder, what string, reasons []string) {
	if len(reasons) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", what)
	for _, reason := range reasons {
		b.WriteString(printable.Line("  - %s", reason))
	}
}

func (g *Group) line(side string) string {
	return fmt.Sprintf("%-7s %s, %s, %s breaks, %s per hour; kernel %s", side+":", display.Plural(uint64(len(g.Reports)), "report", "reports"),
		display.RoundSpan(g.Time), display.Count(g.Breaks.Count), rate(g.Breaks.PerHour), strings.Join(g.Kernels, ", "))
}

func (r *Result) notFound() int {
	n := 0
	for i := range r.Rows {
		if r.Rows[i].Change == NotFound {
			n++
		}
	}
	return n
}

var header = []string{"change", "before/h", "after/h", "times", "95 % interval", "what"}

// writeTable writes the rows with a difference, each below that of its cause as a whole, or all of them.
func (r *Result) writeTable(w io.Writer, width int, all bool) error {
	rows := [][]string{header}
	for i := range r.Rows {
		if row := &r.Rows[i]; all || row.Change != NotFound || row.isWhole() && r.partDiffers(row) {
			rows = append(rows, append(row.figures(), row.name()))
		}
	}
	if len(rows) == 1 {
		return nil
	}
	cutLast(rows, width)
	if _, err := io.WriteString(w, "\n"); err != nil {
		return err
	}
	return display.WriteTable(w, rows)
}

// cutLast cuts the last column so that lines have at most width columns, but for a column of minLast.
func cutLast(rows [][]string, width int) {
	last := len(rows[0]) - 1
	width -= len("  ")
	for column := range last {
		widest := 0
		for _, row := range rows {
			widest = max(widest, utf8.RuneCountInString(row[column]))
		}
		width -= widest + len("  ")
	}
	for _, row := range rows {
		row[last] = cut(row[last], max(minLast, width))
	}
}

// minLast leaves enough of a title to distinguish causes.
const minLast = 16

func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:width-1]) + "…"
}

func (r *Result) partDiffers(whole *Row) bool {
	return slices.ContainsFunc(r.Rows, func(row Row) bool { return row.isOfCause(whole) && row.Change != NotFound })
}

// figures are the cells of a row but for what it is about.
func (r *Row) figures() []string {
	change := string(r.Change)
	if r.Change == NotFound {
		change = "-"
	}
	return []string{change, rate(r.Before.PerHour), rate(r.After.PerHour), times(r.Ratio), r.interval()}
}

// name is what a row is about; a part is named below its cause.
func (r *Row) name() string {
	switch {
	case r.CPU != nil:
		return fmt.Sprintf("  on CPU %d", *r.CPU)
	case r.From != nil:
		return printable.Text("  from " + *r.From)
	}
	return r.title()
}

func (r *Row) title() string {
	return printable.Text(total.Cause{Title: r.Title, Detail: r.Detail}.String())
}

func (m *Move) title() string {
	return printable.Text(total.Cause{Title: m.Title, Detail: m.Detail}.String())
}

func (m *Move) ends() (from, to string) {
	return printable.Text(strings.Join(m.From, ", ")), printable.Text(strings.Join(m.To, ", "))
}

func (r *Row) interval() string {
	if r.High == nil {
		return factor(r.Low) + " or more"
	}
	return factor(r.Low) + " to " + factor(*r.High)
}

func times(v *float64) string {
	if v == nil {
		return "" // there was none before
	}
	return factor(*v)
}

func factor(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 0.01:
		return strconv.FormatFloat(v, 'g', 2, 64)
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

func rate(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 100:
		return strconv.FormatFloat(v, 'g', 3, 64)
	}
	return strconv.FormatFloat(v, 'f', 0, 64)
}

// WriteMarkdown prints what differs as a table for a pull request.
func (r *Result) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "**taskiso diff: %s**\n\n", r.Summary())
	for _, reason := range r.Reasons {
		fmt.Fprintf(&b, "- unknown because %s\n", escape(reason))
	}
	fmt.Fprintf(&b, "- %s\n- %s\n", escape(r.Before.line("before")), escape(r.After.line("after")))
	for _, m := range r.Moved {
		from, to := m.ends()
		fmt.Fprintf(&b, "- moved: %s from %s %s to %s\n", escape(m.title()), m.Of, escape(from), escape(to))
	}
	for _, limit := range r.Limits {
		fmt.Fprintf(&b, "- limit: %s\n", escape(limit))
	}
	if r.notFound() < len(r.Rows) {
		fmt.Fprintf(&b, "\n| %s |\n|%s\n", strings.Join(header, " | "), strings.Repeat("---|", len(header)))
	}
	for i := range r.Rows {
		row := &r.Rows[i]
		if row.Change == NotFound {
			continue
		}
		name := row.title()
		if !row.isWhole() {
			name += "," + strings.TrimPrefix(row.name(), " ")
		}
		cells := append(row.figures(), name)
		for j := range cells {
			cells[j] = escape(cells[j])
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// escape keeps names that a task chose from being markup.
func escape(text string) string {
	return strings.NewReplacer("\\", `\\`, "|", `\|`, "<", "&lt;", "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "\n", " ").Replace(printable.Text(strings.ReplaceAll(text, "\n", " ")))
}
