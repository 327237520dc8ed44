// SPDX-License-Identifier: Apache-2.0

package initramfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// member is what a reader sees.
type member struct {
	mode, major, minor uint64
	data               string
}

// read parses an archive as the format's description says, with none of the writer's code.
func read(t *testing.T, archive []byte) (names []string, members map[string]member) {
	t.Helper()
	members = map[string]member{}
	for {
		if len(archive) < 110 || string(archive[:6]) != "070701" {
			t.Fatalf("no header at %.20q", archive)
		}
		field := func(i int) uint64 {
			value, err := strconv.ParseUint(string(archive[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			return value
		}
		nameEnd := 110 + int(field(11))
		name := strings.TrimSuffix(string(archive[110:nameEnd]), "\x00")
		dataStart := (nameEnd + 3) / 4 * 4
		dataEnd := dataStart + int(field(6))
		if name == "TRAILER!!!" {
			return names, members
		}
		names = append(names, name)
		members[name] = member{mode: field(1), major: field(9), minor: field(10), data: string(archive[dataStart:dataEnd])}
		archive = archive[(dataEnd+3)/4*4:]
	}
}

func archive(t *testing.T, fill func(w *Writer) error) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out)
	if err == nil {
		err = errors.Join(fill(w), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWriter(t *testing.T) {
	names, got := read(t, archive(t, func(w *Writer) error {
		return errors.Join(
			w.CharDevice("dev/null", 0o666, 1, 3),
			w.File("/a/b/../c/file", 0o750, 5, strings.NewReader("hello")),
			w.File("a/c/empty", 0o600, 0, strings.NewReader("")),
			w.Symlink("a/link", "c/file"),
			w.Dir("a"),
			w.File("lib64/libx.so", 0o644, 1, strings.NewReader("x")),
		)
	}))
	want := map[string]member{
		"lib": {mode: 0o120777, data: "usr/lib"}, "lib64": {mode: 0o120777, data: "usr/lib"}, "usr": {mode: 0o40755},
		"usr/lib64": {mode: 0o120777, data: "lib"},
		"dev":       {mode: 0o40755}, "dev/null": {mode: 0o20666, major: 1, minor: 3},
		"a": {mode: 0o40755}, "a/c": {mode: 0o40755}, "a/c/file": {mode: 0o100750, data: "hello"},
		"a/c/empty": {mode: 0o100600}, "a/link": {mode: 0o120777, data: "c/file"},
		"usr/lib": {mode: 0o40755}, "usr/lib/libx.so": {mode: 0o100644, data: "x"},
	}
	for name, m := range want {
		if got[name] != m {
			t.Errorf("%s is %+v, want %+v", name, got[name], m)
		}
	}
	if len(names) != len(want) {
		t.Errorf("members are %q", names)
	}
	seen := map[string]bool{".": true}
	for _, name := range names {
		if !seen[filepath.Dir(name)] {
			t.Errorf("%s comes before its directory", name)
		}
		seen[name] = true
	}
}

func TestWriterRefuses(t *testing.T) {
	w, err := NewWriter(io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.File("a", 0o644, 3, strings.NewReader("xy")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short content gives %v", err)
	}
	if err := w.File("b", 0o644, 1<<32, strings.NewReader("")); err == nil {
		t.Error("a file of 4 GiB gives no error")
	}
	if err := errors.Join(w.Symlink("c", "x"), w.Symlink("c", "y")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second member of one name gives %v", err)
	}
}

// What cpio says of an archive, on machines that have it.
func TestCpioReadsIt(t *testing.T) {
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Log("no cpio on this machine; the kernels of the virtual machines have the last word anyway")
		return
	}
	data := archive(t, func(w *Writer) error { return w.File("etc/x", 0o644, 3, strings.NewReader("abc")) })
	cmd := exec.Command("cpio", "--list", "--quiet")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "lib\nlib64\nusr\nusr/lib64\netc\netc/x\n" {
		t.Errorf("cpio lists %q, %v", out, err)
	}
}

func TestHostTree(t *testing.T) {
	dir := t.TempDir()
	err := errors.Join(
		os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "sub", "f"), []byte("content"), 0o640),
		os.Symlink("sub/f", filepath.Join(dir, "link")),
	)
	if err != nil {
		t.Fatal(err)
	}
	_, got := read(t, archive(t, func(w *Writer) error { return w.HostFile(t.Context(), "/test/data", dir) }))
	want := map[string]member{
		"test/data/sub": {mode: 0o40755}, "test/data/sub/f": {mode: 0o100640, data: "content"},
		"test/data/link": {mode: 0o120777, data: "sub/f"},
	}
	for name, m := range want {
		if got[name] != m {
			t.Errorf("%s is %+v, want %+v", name, got[name], m)
		}
	}
}

func TestParseLibraries(t *testing.T) {
	got, err := parseLibraries("\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/x (dir)/libc.so.6 (0x00007f)\n" +
		"\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n")
	if err != nil || len(got) != 1 || got["libc.so.6"] != "/lib/x (dir)/libc.so.6" {
		t.Errorf("libraries are %v, %v", got, err)
	}
	if _, err := parseLibraries("\tlibx.so => not found\n"); err == nil {
		t.Error("a missing library gives no error")
	}
}
