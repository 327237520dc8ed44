// SPDX-License-Identifier: Apache-2.0

// Package results holds what benchmarks have measured, as they write it to
// docs/bench/*.json and as docs/benchmarks.md is made of it.
package results

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// File is what one benchmark has measured in one run.
type File struct {
	Command string `json:"command"`
	Machine string `json:"machine"`
	Date    string `json:"date"`
	// Busy says what else the machine did.
	Busy string `json:"busy"`
	// Raw is false where only medians have been kept of older runs.
	Raw    bool              `json:"raw"`
	Peers  map[string]string `json:"peers,omitempty"` // versions
	Tables []Table           `json:"tables"`
	// Missing says what could not be measured, and why.
	Missing map[string]string `json:"missing,omitempty"`
}

// Table is values of several things under several conditions.
type Table struct {
	Name    string   `json:"name"`
	Unit    string   `json:"unit"`
	Columns []string `json:"columns"`
	// Base is the row that ratios are to, or "".
	Base string `json:"base,omitempty"`
	Rows []Row  `json:"rows"`
}

// Row is the values of one thing: a series for each column, a value for each round.
type Row struct {
	Name   string      `json:"name"`
	Ours   bool        `json:"ours,omitempty"`
	Values [][]float64 `json:"values"`
}

// Read reads a file.
func Read(path string) (*File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f File
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("parsing %s: %w", path, err)
	}
	for _, t := range f.Tables {
		for _, r := range t.Rows {
			if len(r.Values) != len(t.Columns) {
				return nil, fmt.Errorf("parsing %s: row %q of %q has %d columns, want %d", path, r.Name, t.Name, len(r.Values), len(t.Columns))
			}
		}
	}
	return &f, nil
}

// Write writes a file.
func (f *File) Write(path string) error {
	text, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return fmt.Errorf("encoding results: %w", err)
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Publish notes how busy the machine is, prints each table, and writes the file.
func (f *File) Publish(w io.Writer, path string) error {
	f.Busy = Load()
	for i := range f.Tables {
		if _, err := fmt.Fprintf(w, "%s\n\n%s\n", f.Tables[i].Name, f.Tables[i].Markdown()); err != nil {
			return err
		}
	}
	return f.Write(path)
}

// Table returns a table by its name.
func (f *File) Table(name string) (*Table, error) {
	for i := range f.Tables {
		if f.Tables[i].Name == name {
			return &f.Tables[i], nil
		}
	}
	return nil, fmt.Errorf("no table %q", name)
}

// row returns a row by its name, or nil.
func (t *Table) row(name string) *Row {
	i := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Name == name })
	if i < 0 {
		return nil
	}
	return &t.Rows[i]
}

// Add adds what one round has measured of a thing: a value for each column, NaN for one
// that was not measured. Without values it adds nothing, and no row either.
func (t *Table) Add(name string, ours bool, values ...float64) {
	if len(values) == 0 {
		return
	}
	r := t.row(name)
	if r == nil {
		t.Rows = append(t.Rows, Row{Name: name, Ours: ours, Values: make([][]float64, len(t.Columns))})
		r = &t.Rows[len(t.Rows)-1]
	}
	for i, v := range values {
		if !math.IsNaN(v) {
			r.Values[i] = append(r.Values[i], v)
		}
	}
}

// Median returns the median of what was measured, or NaN if nothing was.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// Markdown returns the table: ratios to the base first, if there is one, then
// medians with the least and the most.
func (t *Table) Markdown() string {
	var b strings.Builder
	head, rule := "| |", "|---|"
	for _, c := range t.Columns {
		if t.Base != "" {
			head += fmt.Sprintf(" %s, ratio |", c)
			rule += "---:|"
		}
	}
	for _, c := range t.Columns {
		head += fmt.Sprintf(" %s |", strings.TrimSuffix(c+", "+t.Unit, ", "))
		rule += "---:|"
	}
	fmt.Fprintf(&b, "%s\n%s\n", head, rule)
	base := t.row(t.Base)
	for _, r := range t.Rows {
		cells := []string{r.Name}
		for i := range t.Columns {
			if base != nil {
				cells = append(cells, Number(ratio(Median(r.Values[i]), Median(base.Values[i]))))
			}
		}
		for i := range t.Columns {
			cells = append(cells, Spread(r.Values[i]))
		}
		if r.Ours {
			for i := range cells {
				cells[i] = "**" + cells[i] + "**"
			}
		}
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

// Ratio returns a row's ratio to the base in the first column.
func (t *Table) Ratio(row string) (float64, error) {
	r, base := t.row(row), t.row(t.Base)
	if r == nil || base == nil {
		return 0, fmt.Errorf("table %q has no rows %q and %q", t.Name, row, t.Base)
	}
	return ratio(Median(r.Values[0]), Median(base.Values[0])), nil
}

// Series returns what was measured of a row in the first column.
func (t *Table) Series(row string) ([]float64, error) {
	r := t.row(row)
	if r == nil {
		return nil, fmt.Errorf("table %q has no row %q", t.Name, row)
	}
	return r.Values[0], nil
}

// ratio returns NaN where there is nothing to compare with.
func ratio(v, base float64) float64 {
	if base <= 0 {
		return math.NaN()
	}
	return v / base
}

// Spread returns the median with the least and the most.
func Spread(values []float64) string {
	if len(values) == 0 {
		return "not measured"
	}
	if len(values) == 1 {
		return Number(values[0])
	}
	return fmt.Sprintf("%s (%s to %s)", Number(Median(values)), Number(slices.Min(values)), Number(slices.Max(values)))
}

// Number returns three digits, or all that are before the point.
func Number(v float64) string {
	switch a := math.Abs(v); {
	case v == 0:
		return "0" // not -0
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "-"
	case a >= 100 || a == math.Trunc(a):
		return thousands(fmt.Sprintf("%.0f", v))
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	case a >= 0.01:
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

// thousands separates groups of digits by commas.
func thousands(digits string) string {
	sign := ""
	if rest, negative := strings.CutPrefix(digits, "-"); negative {
		sign, digits = "-", rest
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// Outside returns the columns in which the median of a row is not within what the
// rounds of another one vary by.
func (t *Table) Outside(row, peer string) ([]string, error) {
	a, b := t.row(row), t.row(peer)
	if a == nil || b == nil {
		return nil, fmt.Errorf("table %q has no rows %q and %q", t.Name, row, peer)
	}
	var outside []string
	for i, c := range t.Columns {
		if m := Median(a.Values[i]); len(b.Values[i]) == 0 || m < slices.Min(b.Values[i]) || m > slices.Max(b.Values[i]) {
			outside = append(outside, c)
		}
	}
	return outside, nil
}
