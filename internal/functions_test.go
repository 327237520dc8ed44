// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// longest is how many lines 99 of 100 functions have at most. Those of a table or of help text are among the rest.
const longest = 42

// function is one that is declared outside tests, in a file that nobody generated.
type function struct {
	name  string // with the place
	lines int
}

// TestFunctionsAreShort: what a function does fits on a screen.
func TestFunctionsAreShort(t *testing.T) {
	all := functions(t)
	if len(all) < 100 {
		t.Fatalf("%d functions found: not those of the module", len(all))
	}
	slices.SortFunc(all, func(a, b function) int { return cmp.Compare(a.lines, b.lines) })
	if p99 := all[len(all)*99/100]; p99.lines > longest {
		t.Errorf("99 of 100 functions have up to %d lines, want at most %d: split one of %v", p99.lines, longest, all[len(all)*99/100:])
	}
}

func functions(t *testing.T) []function {
	t.Helper()
	fset := token.NewFileSet()
	var all []function
	err := filepath.WalkDir(moduleRoot(t), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil || ast.IsGenerated(file) {
			return err
		}
		for _, d := range file.Decls {
			if f, is := d.(*ast.FuncDecl); is && f.Body != nil {
				at := fset.Position(f.Pos())
				all = append(all, function{fmt.Sprintf("%s:%d %s", filepath.Base(path), at.Line, f.Name.Name), fset.Position(f.End()).Line - at.Line + 1})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
