// SPDX-License-Identifier: Apache-2.0

package export_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/export"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/report"
)

// tableOf returns the lines of a table, each by the names of its columns.
func tableOf(t *testing.T, breaks ...report.Break) []map[string]string {
	t.Helper()
	var out bytes.Buffer
	table := export.NewTable(&out)
	for _, b := range breaks {
		table.Add(b)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]string
	for _, row := range rows[1:] {
		line := make(map[string]string)
		for i, name := range rows[0] {
			line[name] = row[i]
		}
		lines = append(lines, line)
	}
	return lines
}

// A line has what NDJSON has of a break, and sums over lines are those of the report.
func TestTable(t *testing.T) {
	var breaks []report.Break
	r, err := replayed(recordingOf(t, batches(), ended()), observe.Listener{Break: func(b report.Break) { breaks = append(breaks, b) }})
	if err != nil {
		t.Fatal(err)
	}
	lines := tableOf(t, breaks...)
	var total uint64
	for _, cpu := range r.CPUs {
		total += cpu.Breaks
	}
	if len(lines) != int(total) || total == 0 {
		t.Fatalf("%d lines for %d breaks", len(lines), total)
	}
	want := "map[at_least:false at_ns:1000 away_ns:0 away_to: cpu:3 detail:function_10 duration_ns:120 id:" + breaks[0].ID + " lossy:false open:false " +
		"origin_cpu:0 origin_delay_ns:120 origin_did:call origin_function:function_10 origin_interrupt:false origin_name:'=ftrace origin_pid:200 " +
		"origin_stack:function_10;function_20 origins:1 quiet_before_ns:900 schema:1 tid:7 title:" + breaks[0].Title + " user_ip: waited_ns:0]"
	if got := fmt.Sprint(lines[0]); got != want {
		t.Errorf("the first line is\n%s\nwant\n%s", got, want)
	}
	if n := len(lines); lines[n-1]["quiet_before_ns"] != "" || lines[1]["origin_pid"] != "200" || lines[3]["origin_pid"] != "" {
		t.Errorf("what is not known is not empty: %v", lines)
	}
}

// Whatever a task is named, a cell holds that name, is one cell, and is no formula.
func TestNamesInATable(t *testing.T) {
	for _, name := range []string{"", "app", "=1+1", "+1", "-1", "@SUM(A1)", "'=1", "a,b", "a\"b", "a\nb", "\t=1", "\r=1", "＝1", "a=b", " =1"} {
		cell := tableOf(t, report.Break{AwayTo: name})[0]["away_to"]
		if got := strings.TrimPrefix(cell, "'"); got != name && cell != name {
			t.Errorf("%q is %q", name, cell)
		}
		if regexp.MustCompile(`^[=+\-@\t\r＝＋－＠]`).MatchString(cell) {
			t.Errorf("%q is a formula: %q", name, cell)
		}
		if strings.HasPrefix(name, "'") && !strings.HasPrefix(cell, "''") {
			t.Errorf("the apostrophe of %q is lost: %q", name, cell)
		}
	}
}

// The page has the columns of the table, in their order, and none besides.
func TestColumnsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/export.md")
	if err != nil {
		t.Fatal(err)
	}
	_, described, _ := strings.Cut(string(page), "| column | meaning |")
	var want []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(described, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			want = append(want, name[1])
		}
	}
	var out bytes.Buffer
	if err := export.NewTable(&out).Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Split(strings.TrimSpace(out.String()), ","); !slices.Equal(got, want) {
		t.Errorf("columns are\n%v, and the page has\n%v", got, want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestTableOnAFullDisk(t *testing.T) {
	table := export.NewTable(full{})
	for range 10_000 {
		table.Add(report.Break{})
	}
	if table.Close() == nil {
		t.Error("no error")
	}
}
