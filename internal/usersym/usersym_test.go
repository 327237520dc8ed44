// SPDX-License-Identifier: Apache-2.0

package usersym

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const source = `int first(int a) { return a + 1; }

int second(int a)
{
	return a * 3; /* line 5 */
}

int main(void) { return first(1) + second(2); }
`

func compile(t *testing.T, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	c := filepath.Join(dir, "a.c")
	if err := os.WriteFile(c, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "a")
	gcc := exec.Command("gcc", append(args, "-O0", "-o", program, c)...)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", gcc, err, out)
	}
	return program
}

// offsetOf returns where in the file a function begins.
func offsetOf(t *testing.T, program, name string) uint64 {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	symbols, err := f.Symbols()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range symbols {
		if s.Name == name {
			return s.Value - f.Sections[s.Section].Addr + f.Sections[s.Section].Offset
		}
	}
	t.Fatalf("no symbol %s", name)
	return 0
}

func TestInFile(t *testing.T) {
	program := compile(t, "-g")
	s := New("")
	got := s.InFile(program, offsetOf(t, program, "second")+1)
	if got.Function != "second" || filepath.Base(got.File) != "a.c" || got.Line < 4 || got.Line > 5 {
		t.Errorf("%+v", got)
	}
	if got := s.InFile(program, offsetOf(t, program, "first")); got.Function != "first" || got.Line != 1 {
		t.Errorf("%+v", got)
	}
}

func TestWithoutDebugInformation(t *testing.T) {
	program := compile(t)
	got := New("").InFile(program, offsetOf(t, program, "second"))
	if got != (Location{Function: "second"}) {
		t.Errorf("%+v", got)
	}
}

func TestUnreadable(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no program"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{text, "/no/such/file", ""} {
		if got := New("").InFile(path, 4); got != (Location{}) {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestCompiled(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	const pid = 77
	lines := "7f20 10 void later()\n7f00 20 int method(int)\nrubbish\nx y z\n"
	if err := os.WriteFile(fmt.Sprintf("%s/tmp/perf-%d.map", root, pid), []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	s := New(root)
	for address, want := range map[uint64]string{0x7eff: "", 0x7f00: "int method(int)", 0x7f1f: "int method(int)", 0x7f20: "void later()", 0x7f30: ""} {
		if got := s.Compiled(pid, address).Function; got != want {
			t.Errorf("%#x: %q, want %q", address, got, want)
		}
	}
}
