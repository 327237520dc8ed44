// SPDX-License-Identifier: Apache-2.0

package usersym

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A program chooses what its mappings are called, and what is there when somebody looks.
func TestWhatIsNoFileHasNoNames(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	huge := filepath.Join(dir, "huge")
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{pipe, filepath.Join(dir, "tmp", "perf-7.map")} {
		if err := unix.Mkfifo(name, 0o600); err != nil { // nobody has the other end: opening it waits
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(huge, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(huge, maxFile+1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, huge, "/dev/zero", "/dev/tty", dir, "/proc/self/mem", filepath.Join(dir, "none")} {
		if got := New("").InFile(path, 0x1000); got != (Location{}) {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if got := New(dir).Compiled(7, 0x1000); got != (Location{}) {
		t.Errorf("a pipe instead of a map: %+v", got)
	}
}

// FuzzInFile damages a program: whatever is in it, there are names or none.
func FuzzInFile(f *testing.F) {
	self, err := os.ReadFile("/bin/true")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(0, []byte{0x7f, 'E', 'L', 'F'}, uint64(0x2000))
	f.Add(0x3c, []byte{0xff, 0xff}, uint64(0x2000))                  // number of sections
	f.Add(0x28, []byte{0xff, 0xff, 0xff, 0x7f}, uint64(0x2000))      // where they begin
	f.Add(len(self)-200, []byte{0xff, 0xff, 0xff, 0xff}, uint64(16)) // a section's header
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, at int, damage []byte, offset uint64) {
		program := append([]byte(nil), self...)
		if at < 0 {
			at = -(at + 1)
		}
		copy(program[at%len(program):], damage)
		path := filepath.Join(dir, "program")
		if err := os.WriteFile(path, program, 0o600); err != nil {
			t.Fatal(err)
		}
		New("").InFile(path, offset)
	})
}
