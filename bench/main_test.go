// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCommands(t *testing.T) {
	var listed bytes.Buffer
	usage(&listed)
	seen := make(map[string]bool)
	for _, c := range commands() {
		if seen[c.name] {
			t.Errorf("%s is there twice", c.name)
		}
		seen[c.name] = true
		flags := flag.NewFlagSet(c.name, flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		if c.define(flags) == nil {
			t.Errorf("%s does nothing", c.name)
		}
		if out := flags.Lookup("o"); out != nil && out.DefValue != "docs/bench/"+c.name+".json" {
			t.Errorf("%s writes %s", c.name, out.DefValue)
		}
		if strings.Contains(listed.String(), "  "+c.name+" ") == c.helper || c.helper != (c.short == "") {
			t.Errorf("%s in the list of benchmarks:\n%s", c.name, &listed)
		}
		if found, err := find([]string{c.name}); err != nil || found.name != c.name {
			t.Errorf("looking for %s: found %q, %v", c.name, found.name, err)
		}
	}
	for _, args := range [][]string{nil, {"nothing"}, {withTracefs + "x"}} {
		if _, err := find(args); err == nil {
			t.Errorf("%q: found a benchmark", args)
		}
	}
}

// "bench page" writes what is in the repository.
func TestPage(t *testing.T) {
	docs := t.TempDir()
	if err := os.CopyFS(docs, os.DirFS("../docs")); err != nil {
		t.Fatal(err)
	}
	made := []string{"benchmarks.md", "benchmarks-deferral.md", "benchmarks-pagefault.md", "bench/observers.svg", "bench/silence.svg", "bench/noise.svg"}
	for _, name := range made {
		if err := os.Remove(filepath.Join(docs, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := run([]string{"page", "-docs", docs}); err != nil {
		t.Fatal(err)
	}
	for _, name := range made {
		want, wantErr := os.ReadFile(filepath.Join("../docs", name))
		got, err := os.ReadFile(filepath.Join(docs, name))
		if wantErr != nil || err != nil || !bytes.Equal(got, want) {
			t.Errorf("docs/%s is not what bench page writes (%v, %v): run make benchmarks", name, wantErr, err)
		}
	}
}
