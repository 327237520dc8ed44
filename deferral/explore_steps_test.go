// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"testing"
)

// sourceOfSteps names the file to check instead of steps.go.
const sourceOfSteps = "DEFERRAL_STEPS"

// The explorer treats a step as indivisible, which is true only of a single
// atomic operation. So every step method must contain exactly one.
func TestExploreStepsAreAtomic(t *testing.T) {
	name := cmp.Or(os.Getenv(sourceOfSteps), "steps.go")
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Recv == nil || !takesRecord(f) || f.Name.Name == "do" {
			continue
		}
		steps++
		if n := atomicOperations(f); n != 1 {
			t.Errorf("violated: step %s has %d atomic operations", f.Name.Name, n)
		}
	}
	if want := 13; steps != want {
		t.Errorf("violated: found %d steps instead of %d", steps, want)
	}
}

func takesRecord(f *ast.FuncDecl) bool {
	for _, p := range f.Type.Params.List {
		if star, ok := p.Type.(*ast.StarExpr); ok {
			if id, ok := star.X.(*ast.Ident); ok && id.Name == "slotRecord" {
				return true
			}
		}
	}
	return false
}

func atomicOperations(f *ast.FuncDecl) int {
	n := 0
	ast.Inspect(f, func(node ast.Node) bool {
		if sel, ok := node.(*ast.SelectorExpr); ok {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == "atomic" {
				n++
			}
		}
		return true
	})
	return n
}
