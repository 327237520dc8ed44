// SPDX-License-Identifier: Apache-2.0

package results

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var table = Table{Name: "t", Unit: "ns", Columns: []string{"a", "b"}, Base: "peer", Rows: []Row{
	{Name: "ours", Ours: true, Values: [][]float64{{3, 1, 2}, {12345}}},
	{Name: "peer", Values: [][]float64{{4, 4, 5}, {12345}}},
	{Name: "absent", Values: [][]float64{{}, {}}},
}}

func TestMarkdown(t *testing.T) {
	want := strings.Join([]string{
		"| | a, ratio | b, ratio | a, ns | b, ns |",
		"|---|---:|---:|---:|---:|",
		"| **ours** | **0.50** | **1** | **2 (1 to 3)** | **12,345** |",
		"| peer | 1 | 1 | 4 (4 to 5) | 12,345 |",
		"| absent | - | - | not measured | not measured |",
		"",
	}, "\n")
	if got := table.Markdown(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What is nothing, or less by chance, is no measure.
func TestMarkdownWithoutBase(t *testing.T) {
	of := Table{Columns: []string{"a"}, Base: "peer", Rows: []Row{{Name: "ours", Values: [][]float64{{2}}}, {Name: "peer", Values: [][]float64{{-1}}}}}
	if got := of.Markdown(); !strings.Contains(got, "| ours | - | 2 |") {
		t.Errorf("got\n%s", got)
	}
}

func TestOutside(t *testing.T) {
	for _, of := range [][2]string{{"ours", "peer"}, {"peer", "ours"}} { // below, and above
		got, err := table.Outside(of[0], of[1])
		if err != nil || !slices.Equal(got, []string{"a"}) {
			t.Errorf("%v: got %q, %v", of, got, err)
		}
	}
	if _, err := table.Outside("ours", "nobody"); err == nil {
		t.Error("no error for a row that is not there")
	}
}

func TestAdd(t *testing.T) {
	got := Table{Columns: []string{"a", "b"}}
	got.Add("ours", true, 1, 2)
	got.Add("peer", false)
	got.Add("ours", true, 3, math.NaN())
	want := []Row{{Name: "ours", Ours: true, Values: [][]float64{{1, 3}, {2}}}}
	if !reflect.DeepEqual(got.Rows, want) {
		t.Errorf("got %+v, want %+v", got.Rows, want)
	}
}

func TestReadAndWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.json")
	f := &File{Command: "make it", Raw: true, Tables: []Table{table}}
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("got %+v, %v", got, err)
	}
	f.Tables[0].Columns = []string{"a"}
	if err := f.Write(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil {
		t.Error("no error for a row with too many columns")
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", math.Copysign(0, -1): "0", 1234567: "1,234,567", -1339: "-1,339", 12.34: "12.3", 0.001234: "0.0012", 999.6: "1,000"} {
		if got := Number(v); got != want {
			t.Errorf("%g: %q, want %q", v, got, want)
		}
	}
}

func TestPublish(t *testing.T) {
	table := Table{Name: "cost", Columns: []string{"ns"}}
	table.Add("ours", true, 7)
	f := File{Tables: []Table{table}}
	path := filepath.Join(t.TempDir(), "f.json")
	var printed bytes.Buffer
	if err := f.Publish(&printed, path); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); err != nil || !bytes.Contains(text, []byte(`"cost"`)) {
		t.Errorf("wrote %s, %v", text, err)
	}
	if want := "cost\n\n" + table.Markdown() + "\n"; printed.String() != want || f.Busy == "" {
		t.Errorf("printed %q, want %q; busy: %q", printed.String(), want, f.Busy)
	}
}
