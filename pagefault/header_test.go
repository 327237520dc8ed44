// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// compiled is where the guest finds the tests of the C header.
const compiled = "/test/watch"

// compile builds a program of testdata.
func compile(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	args = append(append(compilerFlags(), "-Wall", "-Wextra", "-Werror", "-pthread", "-o", path), args...)
	gcc := exec.Command("gcc", append(args, "testdata/"+name+".c")...)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", gcc, err, out)
	}
	return path
}

func compilerFlags() []string {
	return []string{"-Wno-unused-function", "-fno-omit-frame-pointer", "-I../include"}
}

func TestHeader(t *testing.T) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	for _, flag := range []string{"-O0", "-O2", "-std=gnu17"} {
		t.Run(flag, func(t *testing.T) { runHeaderTests(t, compile(t, "watch", flag)) })
	}
}

func TestHeaderInCPlusPlus(t *testing.T) {
	gxx, err := exec.LookPath("g++")
	if err != nil {
		t.Skip(err)
	}
	source := filepath.Join(t.TempDir(), "a.cc")
	if err := os.WriteFile(source, []byte("#include <taskiso/pagefault.h>\nint main() { return 0; }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(gxx, "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-I../include", "-fsyntax-only", source)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", c, err, out)
	}
}

func runHeaderTests(t *testing.T, program string) {
	t.Helper()
	out, err := exec.Command(program).CombinedOutput()
	if err != nil {
		t.Errorf("%s: %v", program, err)
	}
	passed := 0
	for line := range strings.Lines(string(out)) {
		switch {
		case strings.HasPrefix(line, "ok "):
			passed++
		case strings.HasPrefix(line, "not ok "):
			t.Error(strings.TrimSpace(line))
		}
	}
	const tests = 44
	if passed != tests {
		t.Errorf("%d tests passed, want %d\n%s", passed, tests, out)
	}
}
