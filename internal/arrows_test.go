// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"cmp"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// backArrows bounds, for some packages, how many pairs of files refer to each other against the order in which the
// package is read: an arrow leads from a file to each file that it uses a declaration of, and one that closes a circle
// leads back up. `go test -run TestArrowsBack -v ./internal -args -arrows internal/cli` prints those of any package.
var backArrows = map[string]int{
	"internal/cli":              0,
	"internal/run":              0,
	"internal/partition":        0,
	"internal/partition/change": 0,
}

var arrowsOf = flag.String("arrows", "", "also print the arrows that lead back up in this package")

func TestArrowsBack(t *testing.T) {
	if *arrowsOf != "" {
		report := readArrows(t, *arrowsOf)
		for _, a := range report.back() {
			t.Logf("%s → %s: %s", a.from, a.to, strings.Join(report[a], " "))
		}
		t.Logf("%s: %d arrows, %d lead back up", *arrowsOf, len(report), len(report.back()))
	}
	for dir, most := range backArrows {
		if back := readArrows(t, dir).back(); len(back) > most {
			t.Errorf("%s: %d arrows lead back up, want at most %d: %v", dir, len(back), most, back)
		}
	}
}

// arrow leads from a file to another that declares what it uses.
type arrow struct{ from, to string }

// arrows are those of a package, each with the names that are used.
type arrows map[arrow][]string

// readArrows type-checks a package without what it imports: its own declarations are known all the same.
func readArrows(t *testing.T, dir string) arrows {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(moduleRoot(t), dir, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no Go files in %s: %v", dir, err)
	}
	sources := map[string]string{}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files, sources[path] = append(files, file), filepath.Base(path)
	}
	return arrowsAmong(fset, files)
}

func arrowsAmong(fset *token.FileSet, files []*ast.File) arrows {
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Error: func(error) {}, FakeImportC: true, Importer: noImports{}}
	pkg, _ := config.Check("p", fset, files, info) // whose errors are about imports
	found := arrows{}
	for ident, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		a := arrow{fileOf(fset, ident.Pos()), fileOf(fset, object.Pos())}
		if a.from != a.to && !slices.Contains(found[a], object.Name()) {
			found[a] = append(found[a], object.Name())
		}
	}
	for _, names := range found {
		slices.Sort(names)
	}
	return found
}

func fileOf(fset *token.FileSet, pos token.Pos) string {
	return filepath.Base(fset.Position(pos).Filename)
}

type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not read", path)
}

// back returns the arrows that lead up in an order of the files that has few of them, sorted. Which order has the fewest
// is a hard problem; this one begins as Eades, Lin and Smyth (1993) do, and moves single files while that helps.
func (a arrows) back() []arrow {
	order := a.order()
	for improved := true; improved; {
		order, improved = a.improve(order)
	}
	return a.against(order)
}

func (a arrows) against(order []string) []arrow {
	place := map[string]int{}
	for i, file := range order {
		place[file] = i
	}
	var back []arrow
	for arrow := range a {
		if place[arrow.from] > place[arrow.to] {
			back = append(back, arrow)
		}
	}
	slices.SortFunc(back, func(x, y arrow) int { return cmp.Or(cmp.Compare(x.from, y.from), cmp.Compare(x.to, y.to)) })
	return back
}

// order has the files that use others first.
func (a arrows) order() []string {
	left := map[string]bool{}
	for arrow := range a {
		left[arrow.from], left[arrow.to] = true, true
	}
	var first, last []string
	for len(left) > 0 {
		best, bestBalance := "", 0
		sink := ""
		for _, file := range slices.Sorted(maps.Keys(left)) {
			out, in := a.degrees(file, left)
			if out == 0 {
				sink = file
				break
			}
			if best == "" || in == 0 || out-in > bestBalance {
				best, bestBalance = file, out-in
				if in == 0 {
					break
				}
			}
		}
		if sink != "" {
			last = append([]string{sink}, last...)
			delete(left, sink)
			continue
		}
		first = append(first, best)
		delete(left, best)
	}
	return append(first, last...)
}

func (a arrows) degrees(file string, left map[string]bool) (out, in int) {
	for arrow := range a {
		if arrow.from == file && left[arrow.to] {
			out++
		}
		if arrow.to == file && left[arrow.from] {
			in++
		}
	}
	return out, in
}

// improve moves one file to where fewer arrows lead back, if there is such a place.
func (a arrows) improve(order []string) ([]string, bool) {
	now := len(a.against(order))
	for i, file := range order {
		without := slices.Delete(slices.Clone(order), i, i+1)
		for j := range order {
			next := slices.Insert(slices.Clone(without), j, file)
			if len(a.against(next)) < now {
				return next, true
			}
		}
	}
	return order, false
}

// TestArrowsFind makes sure that arrows are found, also those through methods and fields, and that of a circle one leads
// back.
func TestArrowsFind(t *testing.T) {
	const low, middle, high = "package p\ntype T struct{ f other.U }\nvar x int", "package p\nfunc (t T) m() { _ = t.f }", "package p\nfunc g() { T{}.m(); _ = x }"
	for _, test := range []struct {
		name         string
		sources      []string
		arrows, back int
	}{
		{"a tree", []string{low, middle, high}, 3, 0},
		{"a circle of two", []string{low + "\nfunc (t T) n() { t.m() }", middle, high}, 4, 1},
		{"a circle of three", []string{low + "\nfunc (t T) n() { g() }", middle, high}, 4, 1},
	} {
		fset := token.NewFileSet()
		var files []*ast.File
		for i, source := range test.sources {
			file, err := parser.ParseFile(fset, fmt.Sprintf("%d.go", i), source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		a := arrowsAmong(fset, files)
		if len(a) != test.arrows || len(a.back()) != test.back {
			t.Errorf("%s: %d arrows, %v lead back; want %d, and %d back", test.name, len(a), a.back(), test.arrows, test.back)
		}
	}
}
