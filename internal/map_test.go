// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every package is in the package map of docs/README.md, by its own name or by that of a directory above it ("model/…"),
// and the map names nothing that is not there.
func TestPackageMap(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), "docs/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(text), "### Package map")
	if !found {
		t.Fatal("docs/README.md has no package map")
	}
	unused := make(map[string]bool)
	for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(table, -1) {
		if !strings.Contains(name[1], ".") { // a file
			unused[strings.Replace(name[1], "…", "...", 1)] = true
		}
	}
	for _, p := range listPackages(t) {
		name, named := p.name(), false
		if name == module {
			name = "taskiso"
		}
		for in := range unused {
			dir, below := strings.CutSuffix(in, "/...")
			if in == name || below && (name == dir || strings.HasPrefix(name, dir+"/")) {
				named, unused[in] = true, false
			}
		}
		if !named {
			t.Errorf("docs/README.md: the package map does not name %s: add it to the row it belongs to", name)
		}
	}
	for in, isUnused := range unused {
		if isUnused {
			t.Errorf("docs/README.md: the package map names %s, which is not a package", in)
		}
	}
}
