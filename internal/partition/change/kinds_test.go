// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestKinds: journals have these names, and older versions read them.
func TestKinds(t *testing.T) {
	var names []string
	for _, kind := range kinds() {
		name, err := kind.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, string(name))
	}
	want := []string{"text", "choice", "cpulist", "cpumask", "controller", "partition", "directory", "slice", "cycle", "affinity", "schemata", "irqbalance"}
	if !slices.Equal(names, want) {
		t.Errorf("kinds are %q, want %q", names, want)
	}
}

// TestKindsAreListed: each type that is a kind is in the list, or a journal with it could not be read.
func TestKindsAreListed(t *testing.T) {
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var listed, declared []string
	for _, kind := range kinds() {
		listed = append(listed, strings.TrimPrefix(fmt.Sprintf("%T", kind), "change."))
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`(?m)^func \((?:\w+ )?(\w+)\) MarshalText\(`).FindAllStringSubmatch(string(text), -1) {
			declared = append(declared, found[1])
		}
	}
	slices.Sort(listed)
	slices.Sort(declared)
	if !slices.Equal(listed, declared) {
		t.Errorf("listed are %q, declared %q", listed, declared)
	}
}

func TestUnknownKind(t *testing.T) {
	var c Change
	err := json.Unmarshal([]byte(`{"path":"/a","from":"1","to":"2","form":"later"}`), &c)
	if err == nil || !strings.Contains(err.Error(), `"later"`) {
		t.Errorf("%+v, %v; want an error with the kind", c, err)
	}
}
