// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// engineWork are functions, by package, that a command line has no use for: they read the machine, or wait.
var engineWork = map[string][]string{
	"os":   {"Open", "OpenFile", "OpenRoot", "ReadFile", "ReadDir", "Readlink", "Stat", "Lstat", "DirFS"},
	"fs":   {"ReadFile", "ReadDir", "Stat", "Glob", "WalkDir", "Sub"},
	"time": {"Sleep", "After", "AfterFunc", "Tick", "NewTicker", "NewTimer"},
}

// TestCommandLineOnlyPrints: no file of the command line reads the machine, waits, or starts a goroutine. Who it may
// import is a rule of imports; this is what the standard library would let it do.
func TestCommandLineOnlyPrints(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(moduleRoot(t), "internal/cli/*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files of the command line: %v", err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, problem := range engineWorkIn(fset, file) {
			t.Errorf("%s: move it to an engine", problem)
		}
	}
}

func engineWorkIn(fset *token.FileSet, file *ast.File) []string {
	var problems []string
	ast.Inspect(file, func(n ast.Node) bool {
		what := ""
		switch n := n.(type) {
		case *ast.GoStmt:
			what = "a goroutine"
		case *ast.SelectStmt:
			what = "a wait for several things"
		case *ast.SelectorExpr:
			if pkg, is := n.X.(*ast.Ident); is && slices.Contains(engineWork[pkg.Name], n.Sel.Name) {
				what = pkg.Name + "." + n.Sel.Name
			}
		}
		if what != "" {
			at := fset.Position(n.Pos())
			problems = append(problems, fmt.Sprintf("%s:%d: %s", filepath.Base(at.Filename), at.Line, what))
		}
		return true
	})
	return problems
}

// TestEngineWorkIsFound makes sure that the rule above can fail.
func TestEngineWorkIsFound(t *testing.T) {
	const source = "package p\nfunc f() {\n os.ReadFile(x)\n fs.Stat(x, y)\n time.Sleep(z)\n go f()\n select {}\n os.Getenv(x)\n}"
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "f.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"f.go:3: os.ReadFile", "f.go:4: fs.Stat", "f.go:5: time.Sleep", "f.go:6: a goroutine", "f.go:7: a wait for several things"}
	if got := engineWorkIn(fset, file); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
