// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/pagefault"
)

func hex(v uint64) string { return fmt.Sprintf("%#x", v) }

// rows is how many rows of each table the text shows; JSON has all.
const rows = 15

// WriteText writes r for people to read.
func WriteText(w io.Writer, r *Report) error {
	var t text
	t.Printf("\ntaskiso: %s on %s\n  %s\n", display.Span(r.Duration), r.Kernel, r.Target)
	t.Printf("\n%s\n", Summary(Sum{Minor: r.Minor, Major: r.Major, Time: r.Time}))
	t.mappings(r)
	t.locations(r)
	t.threads(r)
	t.histogram(r)
	t.longest(r)
	t.besides(r)
	if _, err := w.Write(t.Bytes()); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// Summary returns a sum in words.
func Summary(s Sum) string {
	words := fmt.Sprintf("%s minor and %s major page faults", display.Count(s.Minor), display.Count(s.Major))
	if s.Time == 0 {
		return words
	}
	return words + ", " + display.Span(s.Time) + " in them"
}

func (t Target) String() string {
	var words []string
	if len(t.Command) > 0 {
		words = append(words, "command "+strings.Join(t.Command, " "))
	}
	if t.PID != 0 {
		words = append(words, fmt.Sprintf("process %d", t.PID))
	}
	if t.TID != 0 {
		words = append(words, fmt.Sprintf("thread %d", t.TID))
	}
	if t.Status != nil {
		words = append(words, fmt.Sprintf("exit status %d", *t.Status))
	}
	return strings.Join(words, ", ")
}

// text is a report in the making.
type text struct{ display.Text }

// sumColumns are the first columns of all tables.
var sumColumns = []string{"minor", "major", "time", "longest"}

func (s Sum) row(more ...string) []string {
	row := []string{display.Count(s.Minor), display.Count(s.Major), "-", "-"}
	if s.Time > 0 {
		row[2], row[3] = display.Span(s.Time), display.Span(s.Max)
	}
	return append(row, more...)
}

// table writes rows under headings. The first columns are numbers.
func (t *text) table(headings []string, numbers int, rows [][]string) {
	all := append([][]string{headings}, rows...)
	for _, row := range all {
		printableRow(row)
	}
	t.TableOf(numbers, all)
}

// printableRow escapes what a program can have chosen: names of files, functions
// and threads.
func printableRow(row []string) {
	for i, cell := range row {
		row[i] = printable.Text(cell)
	}
}

// sums writes a table of sums, the first of them only.
func (t *text) sums(of string, table [][]string) {
	if len(table) == 0 {
		return
	}
	t.Printf("\n")
	t.table(append(sumColumns[:len(sumColumns):len(sumColumns)], of), len(sumColumns), table[:min(len(table), rows)])
	if more := len(table) - rows; more > 0 {
		t.Printf("  and %d more; --json has all\n", more)
	}
}

func (t *text) mappings(r *Report) {
	var table [][]string
	for _, m := range r.Mappings {
		table = append(table, m.row(mappingName(m.Kind, m.Name)))
	}
	t.sums("mapping", table)
}

func mappingName(kind pagefault.MappingKind, name string) string {
	return cmp.Or(strings.TrimSpace(string(kind)+" "+name), "unknown")
}

func (t *text) locations(r *Report) {
	var table [][]string
	for _, l := range r.Locations {
		table = append(table, l.row(codeName(l.Function, l.File, l.Line, l.Object)))
	}
	t.sums("code", table)
}

// codeName is "function (file.c:12) in libx.so", as far as that is known.
func codeName(function, file string, line int, object string) string {
	name := cmp.Or(function, "?")
	if file != "" {
		name += fmt.Sprintf(" (%s:%d)", filepath.Base(file), line)
	}
	if filepath.IsAbs(object) { // a file; other objects are named in words
		object = filepath.Base(object)
	}
	if object != "" {
		name += " in " + object
	}
	return name
}

func (t *text) threads(r *Report) {
	if len(r.Threads) < 2 {
		return
	}
	var table [][]string
	for _, th := range r.Threads {
		table = append(table, th.row(fmt.Sprintf("%d %s", th.TID, th.Name)))
	}
	t.sums("thread", table)
}

func (t *text) histogram(r *Report) {
	if len(r.Histogram) == 0 {
		return
	}
	var most uint64
	for _, b := range r.Histogram {
		most = max(most, b.Count)
	}
	var table [][]string
	for _, b := range r.Histogram {
		table = append(table, []string{"from " + display.Span(b.From), display.Count(b.Count), display.Bar(b.Count, most)})
	}
	t.Printf("\n")
	t.table([]string{"lasted", "faults", ""}, 2, table)
}

func (t *text) longest(r *Report) {
	if len(r.Longest) == 0 || r.Longest[0].Duration == 0 {
		return
	}
	var table [][]string
	for _, f := range r.Longest {
		table = append(table, f.row())
	}
	t.Printf("\n")
	t.table([]string{"at", "lasted", "thread", "", "address", "in", "by"}, 3, table)
}

func (f *Fault) row() []string {
	in := mappingName(f.Kind, f.Name)
	if f.Kind == pagefault.File { // its path is in the table of mappings
		in = fmt.Sprintf("%s+%#x", filepath.Base(f.Name), f.Offset)
	}
	lasted := "-"
	if f.Duration > 0 {
		lasted = display.Span(f.Duration)
	}
	return []string{fmt.Sprintf("%.6f s", f.At.Seconds()), lasted, fmt.Sprint(f.TID), f.Severity, f.Address, in,
		codeName(f.Function, f.File, f.Line, f.Object)}
}

// Line returns one fault as one line, in columns as wide as most.
func Line(f Fault) string {
	r := f.row()
	printableRow(r)
	return fmt.Sprintf("%12s  %7s  %7s  %s  %-14s  %-24s  %s", r[0], r[1], r[2], r[3], r[4], r[5], r[6])
}

// besides prints what is not in the tables.
func (t *text) besides(r *Report) {
	t.Printf("\n")
	var table [][]string
	for _, n := range []struct {
		count uint64
		what  string
	}{
		{r.Lost, "lost for want of room in a buffer; with --no-times or --major less is written to it"},
		{r.Omitted, "above --max-per-second"},
		{r.Before, "during the warm-up"},
		{r.Unmarked, "of threads that had not declared that they expect none"},
	} {
		if n.count > 0 {
			table = append(table, []string{display.Count(n.count), n.what})
		}
	}
	if len(table) > 0 {
		t.table([]string{"besides", "in no table"}, 1, table)
	}
	if r.Usage != nil {
		t.Printf("  the kernel accounts %s minor and %s major faults to the command, with those in kernel mode and of execve() itself\n",
			display.Count(uint64(r.Usage.Minor)), display.Count(uint64(r.Usage.Major)))
	}
	for _, l := range r.Limits {
		t.Printf("  - %s\n", l)
	}
}
