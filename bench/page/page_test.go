// SPDX-License-Identifier: Apache-2.0

package page

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/bench/results"
)

const docs = "../../docs"

// The page and its figures are what the data gives.
func TestPageAgreesWithData(t *testing.T) {
	files, err := render(docs)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Error(err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what docs/bench gives: run make benchmarks", name)
		}
	}
}

func TestGoal(t *testing.T) {
	for name, tc := range map[string]struct {
		base        string
		ours, peers float64
		want        string
	}{
		"met":        {"peer", 1, 2, "met here: 0.50 of peer, goal 0.50"},
		"missed":     {"peer", 3, 2, "missed here: 1.50 of peer, goal 0.50"},
		"no base":    {"", 1, 2, "not known from this run: no peer recorded enough, or none cost more than the method is wrong by"},
		"no measure": {"peer", 1, -2, "not known from this run: peer cost nothing in it"},
	} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "bench"), 0o755); err != nil {
			t.Fatal(err)
		}
		table := results.Table{Name: "t", Columns: []string{"cost"}, Base: tc.base}
		table.Add("ours", true, tc.ours)
		table.Add("peer", false, tc.peers)
		f := results.File{Tables: []results.Table{table}}
		if err := f.Write(filepath.Join(dir, "bench", "f.json")); err != nil {
			t.Fatal(err)
		}
		if got, err := (source{dir}).goal("f", "t", "ours", 0.5); err != nil || got != tc.want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, tc.want)
		}
	}
}

// All data is shown.
func TestPageShowsAllData(t *testing.T) {
	files, err := render(docs)
	if err != nil {
		t.Fatal(err)
	}
	var pages bytes.Buffer
	for name, text := range files {
		if filepath.Ext(name) == ".md" {
			pages.Write(text)
		}
	}
	for _, pattern := range []string{"*.json", "*.svg"} {
		data, err := filepath.Glob(filepath.Join(docs, "bench", pattern))
		if err != nil || len(data) == 0 {
			t.Fatal("no data", err)
		}
		for _, d := range data {
			if !strings.Contains(pages.String(), "(bench/"+filepath.Base(d)+")") {
				t.Errorf("%s is not in a page", d)
			}
		}
	}
}
