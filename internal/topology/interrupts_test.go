// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

func parseFile(t *testing.T, name string) Table {
	t.Helper()
	text, err := os.ReadFile("testdata/text/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return parseText(t, string(text))
}

func parseText(t *testing.T, text string) Table {
	t.Helper()
	table, err := parseTable(text)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func checkRow(t *testing.T, table Table, want Row) {
	t.Helper()
	if got, ok := table.Row(want.Name); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("row %s:\ngot  %+v, %v\nwant %+v", want.Name, got, ok, want)
	}
}

func TestInterruptsOffline(t *testing.T) {
	table := parseFile(t, "interrupts-x86-offline")
	if want := []int{0, 2, 3, 130}; !slices.Equal(table.CPUs, want) {
		t.Errorf("CPUs %v, want %v", table.CPUs, want)
	}
	if len(table.Rows) != 10 {
		t.Errorf("%d rows, want 10", len(table.Rows))
	}
	checkRow(t, table, Row{
		Name: "120", Counts: []uint64{0, math.MaxUint32, 12, math.MaxUint32 + 1}, Total: 2*math.MaxUint32 + 13,
		Description: "IR-PCI-MSIX-0000:3b:00.0 1-edge eth0-rx-0, eth0-tx-0",
	})
	checkRow(t, table, Row{Name: "121", Counts: []uint64{0, 0, 3, 0}, Total: 3, Description: "IR-PCI-MSI 1048576-edge"})
	checkRow(t, table, Row{Name: "ERR", Total: 7})
	for cpu, want := range map[int]uint64{0: 12, 2: 13, 3: 14, 130: 15} {
		if got, ok := table.Count("NMI", cpu); !ok || got != want {
			t.Errorf("NMI on CPU %d: %d, %v, want %d", cpu, got, ok, want)
		}
	}
	for name, cpu := range map[string]int{"NMI": 1, "ERR": 0, "none": 0} {
		if got, ok := table.Count(name, cpu); ok {
			t.Errorf("%s has count %d on CPU %d, want none", name, got, cpu)
		}
	}
}

func TestInterruptsARM64(t *testing.T) {
	table := parseFile(t, "interrupts-arm64")
	checkRow(t, table, Row{
		Name: "IPI0", Counts: []uint64{3409, 4019, 3981, 4120}, Total: 15529, Description: "Rescheduling interrupts",
	})
	checkRow(t, table, Row{
		Name: "11", Counts: []uint64{128034, 117331, 98211, 87231}, Total: 430807, Description: "GICv3 27 Level arch_timer",
	})
	checkRow(t, table, Row{Name: "Err"})
}

func TestInterruptsCaptured(t *testing.T) {
	fsys := os.DirFS("testdata/vm-2cpu")
	interrupts, err := Interrupts(fsys)
	if err != nil {
		t.Fatal(err)
	}
	softirqs, err := Softirqs(fsys)
	if err != nil {
		t.Fatal(err)
	}
	row, ok := interrupts.Row("LOC")
	if !ok || len(row.Counts) != 2 || row.Counts[0] == 0 || row.Description != "Local timer interrupts" {
		t.Errorf("LOC is %+v, %v", row, ok)
	}
	var names []string
	for _, row := range softirqs.Rows {
		names = append(names, row.Name)
	}
	// softirq_to_name in kernel/softirq.c
	if want := "HI TIMER NET_TX NET_RX BLOCK IRQ_POLL TASKLET SCHED HRTIMER RCU"; strings.Join(names, " ") != want {
		t.Errorf("softirqs %v, want %s", names, want)
	}
}

func TestInterruptsHere(t *testing.T) {
	here := os.DirFS("/")
	for _, read := range []func(fs.FS) (Table, error){Interrupts, Softirqs} {
		table, err := read(here)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range table.Rows {
			if row.Counts == nil && row.Description != "" {
				t.Errorf("row %s (%s) has no counts per CPU", row.Name, row.Description)
			}
		}
	}
}

// TestInterruptsLarge has lines of 90 kB, beyond the limit of bufio.Scanner.
func TestInterruptsLarge(t *testing.T) {
	const n = 8192
	var header, counts strings.Builder
	for cpu := range n {
		fmt.Fprintf(&header, "CPU%-8d", cpu)
		fmt.Fprintf(&counts, "%10d ", cpu)
	}
	table := parseText(t, header.String()+"\nLOC: "+counts.String()+"  Local timer interrupts\nERR: 3\n")
	if got, ok := table.Count("LOC", n-1); !ok || got != n-1 || len(table.CPUs) != n {
		t.Errorf("got %d, %v for the last of %d CPUs", got, ok, len(table.CPUs))
	}
	checkRow(t, table, Row{Name: "ERR", Total: 3})
}

func TestInterruptsErrors(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          "",
		"no header":      "LOC: 1 2\n",
		"no CPUs":        "\nLOC: 1\n",
		"CPU too high":   "CPU0 CPU8192\n",
		"CPU twice":      "CPU0 CPU0\n",
		"CPUs unordered": "CPU1 CPU0\n",
		"no colon":       "CPU0\nLOC 1\n",
		"no name":        "CPU0\n : 1\n",
	} {
		if table, err := parseTable(text); !errors.Is(err, ErrFormat) || !reflect.ValueOf(table).IsZero() {
			t.Errorf("%s: got %+v, %v, want ErrFormat", name, table, err)
		}
	}
	if _, err := parseTable("CPU0\nLOC: 18446744073709551616\n"); !errors.Is(err, strconv.ErrRange) {
		t.Errorf("error %v, want ErrRange", err)
	}
	if _, err := Interrupts(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

func TestDiff(t *testing.T) {
	before := parseText(t, `CPU0 CPU1 CPU3
		24: 100 200 7 chip eth0
		25: 100 200 7 chip eth1
		26: 1 2 3 chip gone
		28: 9 9 9 chip restarted
		LOC: 4294967290 5 6 Local timer interrupts
		ERR: 3
	`)
	after := parseText(t, `CPU0 CPU3 CPU4
		24: 101 17 50 chip eth0
		25: 104 206 5 chip other
		27: 1 3 2 chip new
		28: 2 10 9 chip restarted
		LOC: 4 7 50 Local timer interrupts
		ERR: 5
	`)
	want := parseText(t, `CPU0 CPU3
		24: 1 10 chip eth0
		25: 104 206 chip other
		27: 1 3 chip new
		28: 4294967289 1 chip restarted
		LOC: 10 1 Local timer interrupts
		ERR: 2
	`)
	// 9 -> 2 could be a counter that began again; a wrap would be nearly 2^32
	// interrupts, so it is not taken for one.
	want.Rows[3].Counts[0], want.Rows[3].Total = 2, 3
	if got := Diff(before, after); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got := Diff(after, after); got.Rows[0].Total != 0 || !slices.Equal(got.CPUs, after.CPUs) {
		t.Errorf("a table differs from itself: %+v", got)
	}
}

// FuzzParseTable checks what holds for every table, and that a table survives
// being written down and read again.
func FuzzParseTable(f *testing.F) {
	for _, name := range []string{"text/interrupts-x86-offline", "text/interrupts-arm64", "vm-2cpu/proc/softirqs"} {
		text, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("CPU0 CPU1\nERR: 1\nA: 1 2 3 4\n")
	f.Fuzz(func(t *testing.T, text string) {
		table, err := parseTable(text)
		if err != nil {
			if !reflect.ValueOf(table).IsZero() {
				t.Fatalf("a table together with %v", err)
			}
			return
		}
		for _, row := range table.Rows {
			checkShape(t, table, row)
		}
		again, err := parseTable(format(table))
		if err != nil || !reflect.DeepEqual(again, table) {
			t.Fatalf("%+v\ncomes back as\n%+v, %v", table, again, err)
		}
	})
}

func checkShape(t *testing.T, table Table, row Row) {
	t.Helper()
	if row.Counts == nil {
		return
	}
	var sum uint64
	for _, n := range row.Counts {
		sum += n
	}
	if len(row.Counts) != len(table.CPUs) || sum != row.Total {
		t.Fatalf("row %+v does not fit CPUs %v", row, table.CPUs)
	}
}

func format(table Table) string {
	var text strings.Builder
	for _, cpu := range table.CPUs {
		fmt.Fprintf(&text, "CPU%d ", cpu)
	}
	for _, row := range table.Rows {
		fmt.Fprintf(&text, "\n%s:", row.Name)
		for _, n := range row.Counts {
			fmt.Fprintf(&text, " %d", n)
		}
		if row.Total > 0 && row.Counts == nil {
			fmt.Fprintf(&text, " %d", row.Total)
		}
		text.WriteString(" " + row.Description)
	}
	return text.String()
}

func TestRowDevice(t *testing.T) {
	for _, tc := range []struct {
		row  Row
		want string
	}{
		{Row{Name: "24", Description: "PCI-MSI 524288-edge eth0-tx-0"}, "eth0-tx-0"},
		{Row{Name: "25"}, ""},
		{Row{Name: "LOC", Description: "Local timer interrupts"}, ""},
	} {
		if got := tc.row.Device(); got != tc.want {
			t.Errorf("%+v: got device %q, want %q", tc.row, got, tc.want)
		}
	}
}
