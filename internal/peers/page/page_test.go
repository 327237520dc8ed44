// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const docs = "../../../docs"

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

// All data is shown.
func TestPageShowsAllData(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(docs, "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"*.json", "*.svg"} {
		data, err := filepath.Glob(filepath.Join(docs, "bench", pattern))
		if err != nil || len(data) == 0 {
			t.Fatal("no data", err)
		}
		for _, d := range data {
			if !strings.Contains(string(page), "(bench/"+filepath.Base(d)+")") {
				t.Errorf("%s is not in the page", d)
			}
		}
	}
}
