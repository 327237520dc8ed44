// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// An entry that names no test would leave nothing out, and nobody would see it.
func TestExceptionsNameTests(t *testing.T) {
	for _, problem := range wrongEntries(t, exceptions()) {
		t.Error(problem)
	}
}

func TestWrongExceptionsAreFound(t *testing.T) {
	good := exception{[]string{"rt"}, "internal/vmtest", "TestGuestSeed", "x"}
	for want, change := range map[string]func(*exception){
		"there is no row":        func(e *exception) { e.rows = []string{"vax"} },
		"is for no row":          func(e *exception) { e.rows = nil },
		"has no test":            func(e *exception) { e.test = "TestGuestSee" },
		"gives no reason":        func(e *exception) { e.because = "" },
		"stands there twice":     func(*exception) {},
		"internal/vax has no te": func(e *exception) { e.pkg = "internal/vax" },
	} {
		bad := good
		change(&bad)
		all := []exception{bad}
		if want == "stands there twice" {
			all = append(all, good)
		}
		if got := wrongEntries(t, all); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("got %q, want one that contains %q", got, want)
		}
	}
}

func wrongEntries(t *testing.T, all []exception) (problems []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, e := range all {
		what := e.pkg + " " + e.test
		name, _, _ := strings.Cut(e.test, "/")
		if !testsOf(t, filepath.Join("../..", e.pkg))[name] {
			problems = append(problems, what+": "+e.pkg+" has no test "+name)
		}
		if e.because == "" {
			problems = append(problems, what+" gives no reason")
		}
		if len(e.rows) == 0 {
			problems = append(problems, what+" is for no row")
		}
		for _, row := range e.rows {
			if _, ok := debian.FindRow(row); !ok {
				problems = append(problems, what+": there is no row "+row)
			}
			if seen[what+row] {
				problems = append(problems, what+" on "+row+" stands there twice")
			}
			seen[what+row] = true
		}
	}
	return problems
}

// testsOf are the functions of the test files in a directory, whatever tags they are built with.
func testsOf(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Test") {
				tests[f.Name.Name] = true
			}
		}
	}
	return tests
}

func TestExceptionsAreSkipped(t *testing.T) {
	all := []exception{
		{[]string{"rt", "arm64"}, "internal/a", "TestGuestOne", "x"},
		{[]string{"rt"}, "internal/a", "TestGuestTwo/some.case", "x"},
		{[]string{"rt"}, "internal/b", "TestGuestThree", "x"},
	}
	for row, want := range map[string]string{
		"rt":     `^TestGuestOwn$|^TestGuestOne$|^TestGuestTwo$/^some\.case$`,
		"arm64":  `^TestGuestOwn$|^TestGuestOne$`,
		"trixie": `^TestGuestOwn$`,
	} {
		if got := skipping("^TestGuestOwn$", exceptionsOf(all, "internal/a", row)); got != want {
			t.Errorf("on %s go test skips %s, want %s", row, got, want)
		}
	}
	if got := skipping("", nil); got != "" {
		t.Errorf("without exceptions go test skips %q", got)
	}
}
