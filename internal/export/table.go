// SPDX-License-Identifier: Apache-2.0

package export

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/report"
)

// TableSchema is the version of the table. It is raised when a column changes its meaning or goes away; new columns are added at the end,
// and do not raise it.
const TableSchema = 1

// Table writes breaks as CSV (RFC 4180), a line for each. Its methods are not safe for concurrent use.
type Table struct {
	w *csv.Writer
}

// column is one of the table.
type column struct {
	name string
	of   func(b *report.Break, first *report.Origin) string
}

// columns are described in docs/export.md.
var columns = []column{
	{"schema", func(*report.Break, *report.Origin) string { return strconv.Itoa(TableSchema) }},
	{"at_ns", func(b *report.Break, _ *report.Origin) string { return nanoseconds(b.At) }},
	{"cpu", func(b *report.Break, _ *report.Origin) string { return strconv.Itoa(b.CPU) }},
	{"tid", func(b *report.Break, _ *report.Origin) string { return fmt.Sprint(b.TID) }},
	{"duration_ns", func(b *report.Break, _ *report.Origin) string { return nanoseconds(b.Duration) }},
	{"at_least", func(b *report.Break, _ *report.Origin) string { return strconv.FormatBool(b.AtLeast) }},
	{"waited_ns", func(b *report.Break, _ *report.Origin) string { return nanoseconds(b.Waited) }},
	{"open", func(b *report.Break, _ *report.Origin) string { return strconv.FormatBool(b.Open) }},
	{"lossy", func(b *report.Break, _ *report.Origin) string { return strconv.FormatBool(b.Lossy) }},
	{"id", func(b *report.Break, _ *report.Origin) string { return text(b.ID) }},
	{"title", func(b *report.Break, _ *report.Origin) string { return text(b.Title) }},
	{"detail", func(b *report.Break, _ *report.Origin) string { return text(b.Detail) }},
	{"user_ip", func(b *report.Break, _ *report.Origin) string { return text(b.UserIP) }},
	{"quiet_before_ns", func(b *report.Break, _ *report.Origin) string { return known(b.Quiet) }},
	{"away_ns", func(b *report.Break, _ *report.Origin) string { return nanoseconds(b.Away) }},
	{"away_to", func(b *report.Break, _ *report.Origin) string { return text(b.AwayTo) }},
	{"origins", func(b *report.Break, _ *report.Origin) string { return strconv.Itoa(len(b.Origins)) }},
	{"origin_did", func(_ *report.Break, o *report.Origin) string { return text(o.Did) }},
	{"origin_pid", func(b *report.Break, o *report.Origin) string { return ofOrigin(b, fmt.Sprint(o.PID)) }},
	{"origin_name", func(_ *report.Break, o *report.Origin) string { return text(o.Name) }},
	{"origin_cpu", func(b *report.Break, o *report.Origin) string { return ofOrigin(b, fmt.Sprint(o.CPU)) }},
	{"origin_delay_ns", func(b *report.Break, o *report.Origin) string { return ofOrigin(b, nanoseconds(o.MaxDelay)) }},
	{"origin_interrupt", func(b *report.Break, o *report.Origin) string { return ofOrigin(b, strconv.FormatBool(o.Interrupt)) }},
	{"origin_function", func(_ *report.Break, o *report.Origin) string { return text(o.Function) }},
	{"origin_stack", func(_ *report.Break, o *report.Origin) string { return text(strings.Join(o.Stack, ";")) }},
}

// NewTable begins a table with the names of its columns.
func NewTable(out io.Writer) *Table {
	t := &Table{csv.NewWriter(out)}
	t.row(func(c column) string { return c.name })
	return t
}

// Add adds a break.
func (t *Table) Add(b report.Break) {
	first := &report.Origin{}
	if len(b.Origins) > 0 {
		first = &b.Origins[0]
	}
	t.row(func(c column) string { return c.of(&b, first) })
}

// row writes a line. The writer remembers its first error.
func (t *Table) row(cell func(column) string) {
	line := make([]string, len(columns))
	for i, c := range columns {
		line[i] = cell(c)
	}
	_ = t.w.Write(line)
}

// Close ends the table, and returns the first error of writing it.
func (t *Table) Close() error {
	t.w.Flush()
	if err := t.w.Error(); err != nil {
		return fmt.Errorf("writing a table: %w", err)
	}
	return nil
}

func nanoseconds(d time.Duration) string { return strconv.FormatInt(int64(d), 10) }

// known is a time, or nothing if it is not known.
func known(d time.Duration) string {
	if d < 0 {
		return ""
	}
	return nanoseconds(d)
}

// ofOrigin is a value of the first origin, or nothing if there is none.
func ofOrigin(b *report.Break, value string) string {
	if len(b.Origins) == 0 {
		return ""
	}
	return value
}

// text returns what others have chosen so that a spreadsheet takes it for text: with an apostrophe in front if it would be a formula, as
// any task can be named "=HYPERLINK(...)". One that begins with an apostrophe gets another, so that a program can take it away again.
func text(s string) string {
	if strings.IndexAny(s, "=+-@'\t\r\n＝＋－＠") == 0 {
		return "'" + s
	}
	return s
}
