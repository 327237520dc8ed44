// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
)

// ErrFormat means that a file under /proc does not have the form it has on all
// known kernels.
var ErrFormat = errors.New("unknown format")

// Table holds the counts of /proc/interrupts or /proc/softirqs. The two files
// do not name the same CPUs: interrupts are listed for online CPUs, softirqs
// for possible ones.
type Table struct {
	CPUs []int // the CPUs that have a column, ascending
	Rows []Row // in the order of the file
}

// Row is one kind of interrupt.
type Row struct {
	// Name is the IRQ number ("24"), a short name ("LOC", "IPI0") or the
	// softirq ("NET_RX").
	Name string
	// Counts has one number since boot for each CPU of the table, in that
	// order. It is nil if the kernel counts for the whole system (ERR, MIS).
	// The kernel's counters have 32 bits and begin again after 4294967295.
	Counts []uint64
	// Total is the sum of Counts, or the count for the whole system.
	Total uint64
	// Description is the rest of the line with single spaces: the interrupt
	// controller and the devices, or what the short name means. May be empty.
	Description string
}

// Interrupts reads /proc/interrupts. The kernel does not hold CPUs in place
// while the file is read: a caller that needs certainty under CPU hotplug
// compares [Online] before and after.
func Interrupts(fsys fs.FS) (Table, error) { return readTable(fsys, "proc/interrupts") }

// Softirqs reads /proc/softirqs.
func Softirqs(fsys fs.FS) (Table, error) { return readTable(fsys, "proc/softirqs") }

// Device returns the device of a numbered row: the last word of its description, behind
// the controller and the trigger. It is "" if there is none.
func (r Row) Device() string {
	words := strings.Fields(r.Description)
	if _, err := strconv.Atoi(r.Name); err != nil || len(words) == 0 {
		return ""
	}
	return words[len(words)-1]
}

// Row returns the row of that name.
func (t Table) Row(name string) (Row, bool) {
	i := slices.IndexFunc(t.Rows, func(r Row) bool { return r.Name == name })
	if i < 0 {
		return Row{}, false
	}
	return t.Rows[i], true
}

// Count returns the count of the named row on cpu, or false if there is no such
// row or it has no count for that CPU.
func (t Table) Count(name string, cpu int) (uint64, bool) {
	row, ok := t.Row(name)
	column, online := slices.BinarySearch(t.CPUs, cpu)
	if !ok || !online || row.Counts == nil {
		return 0, false
	}
	return row.Counts[column], true
}

func readTable(fsys fs.FS, name string) (Table, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return Table{}, fmt.Errorf("reading interrupt counts: %w", err)
	}
	table, err := parseTable(string(text))
	if err != nil {
		return Table{}, fmt.Errorf("reading /%s: %w", name, err)
	}
	return table, nil
}

func parseTable(text string) (Table, error) {
	header, rest, _ := strings.Cut(text, "\n")
	cpus, err := parseHeader(header)
	if err != nil {
		return Table{}, err
	}
	table := Table{CPUs: cpus}
	number := 1
	for line := range strings.SplitSeq(rest, "\n") {
		number++
		if strings.TrimSpace(line) == "" {
			continue
		}
		row, err := parseRow(line, len(cpus))
		if err != nil {
			return Table{}, fmt.Errorf("line %d: %w", number, err)
		}
		table.Rows = append(table.Rows, row)
	}
	return table, nil
}

func parseHeader(line string) ([]int, error) {
	var cpus []int
	for _, field := range strings.Fields(line) {
		cpu, ok := numberAfter(field, "CPU")
		if !ok || cpu > cpulist.MaxCPU {
			return nil, fmt.Errorf("column %.20q is not a CPU: %w", field, ErrFormat)
		}
		if len(cpus) > 0 && cpu <= cpus[len(cpus)-1] {
			return nil, fmt.Errorf("column CPU%d is out of order: %w", cpu, ErrFormat)
		}
		cpus = append(cpus, cpu)
	}
	if len(cpus) == 0 {
		return nil, fmt.Errorf("no CPU columns: %w", ErrFormat)
	}
	return cpus, nil
}

func parseRow(line string, columns int) (Row, error) {
	name, rest, found := strings.Cut(line, ":")
	name = strings.TrimSpace(name)
	if !found || name == "" {
		return Row{}, fmt.Errorf("row %.40q has no name: %w", line, ErrFormat)
	}
	fields := strings.Fields(rest)
	counts, err := leadingCounts(fields, columns)
	if err != nil {
		return Row{}, fmt.Errorf("row %.40q: %w", name, err)
	}
	row := Row{Name: name, Description: strings.Join(fields[len(counts):], " ")}
	for _, n := range counts {
		row.Total += n
	}
	if len(counts) == columns {
		row.Counts = counts
	}
	return row, nil
}

// leadingCounts reads the numbers at the start of a row. A description may
// begin with a digit ("8250"), so it never takes more than there are columns.
func leadingCounts(fields []string, columns int) ([]uint64, error) {
	counts := make([]uint64, 0, min(columns, len(fields)))
	for _, field := range fields[:min(columns, len(fields))] {
		n, err := strconv.ParseUint(field, 10, 64)
		if errors.Is(err, strconv.ErrRange) {
			return nil, fmt.Errorf("count %.40q: %w", field, err)
		}
		if err != nil {
			break
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// Diff returns what was counted between two readings of the same file: one row
// for each row of after, with the CPUs that have a column in both.
//
// A row that is new, or whose IRQ number now belongs to other devices, counts
// from zero. Counters that began again at 32 bits are set right, as long as
// there were fewer than 2^31 interrupts in between.
func Diff(before, after Table) Table {
	var diff Table
	var columns []columnPair
	for i, cpu := range after.CPUs {
		if j, ok := slices.BinarySearch(before.CPUs, cpu); ok {
			diff.CPUs = append(diff.CPUs, cpu)
			columns = append(columns, columnPair{before: j, after: i})
		}
	}
	old := make(map[string]Row, len(before.Rows))
	for _, row := range before.Rows {
		old[row.Name] = row
	}
	for _, row := range after.Rows {
		diff.Rows = append(diff.Rows, diffRow(old[row.Name], row, columns))
	}
	return diff
}

type columnPair struct{ before, after int }

func diffRow(before, after Row, columns []columnPair) Row {
	row := Row{Name: after.Name, Description: after.Description}
	known := before.Description == after.Description && (before.Counts == nil) == (after.Counts == nil)
	if after.Counts == nil {
		row.Total = after.Total
		if known {
			row.Total = countSince(before.Total, after.Total)
		}
		return row
	}
	row.Counts = make([]uint64, len(columns))
	for i, column := range columns {
		row.Counts[i] = after.Counts[column.after]
		if known {
			row.Counts[i] = countSince(before.Counts[column.before], row.Counts[i])
		}
		row.Total += row.Counts[i]
	}
	return row
}

func countSince(before, after uint64) uint64 {
	if after >= before {
		return after - before
	}
	wrapped := uint64(uint32(after) - uint32(before))
	if before <= math.MaxUint32 && wrapped < 1<<31 {
		return wrapped
	}
	return after // begun again at zero, as when a driver lets go of its IRQ
}
