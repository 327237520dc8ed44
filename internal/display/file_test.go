// SPDX-License-Identifier: Apache-2.0

package display

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// halfWritten makes this test binary write a file halfway and wait to be killed.
const halfWritten = "TASKISO_TEST_HALF_WRITTEN"

func TestMain(m *testing.M) {
	if target := os.Getenv(halfWritten); target != "" {
		writeHalf(target)
		return
	}
	m.Run()
}

func writeHalf(target string) {
	f, err := Create(target)
	if err == nil {
		_, err = f.WriteString("half")
	}
	if err != nil {
		panic(err)
	}
	os.Stdout.WriteString("ready\n")
	os.Stdin.Read(make([]byte, 1)) // nobody writes: until it is killed
}

// content returns what is in a directory: name to text.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string]string)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(text)
	}
	return files
}

func expectContent(t *testing.T, dir, when string, want map[string]string) {
	t.Helper()
	got := content(t, dir)
	if len(got) != len(want) {
		t.Errorf("%s: the directory has %q, want %q", when, got, want)
	}
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: %s has %q, want %q", when, name, got[name], text)
		}
	}
}

func create(t *testing.T, target, text string) *File {
	t.Helper()
	f, err := Create(target)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

// directories are those that files are tried in: some file systems have no
// nameless files.
func directories(t *testing.T) map[string]string {
	t.Helper()
	dirs := map[string]string{"temporary": t.TempDir()}
	if dir, err := os.MkdirTemp("/dev/shm", "taskiso-test-*"); err == nil {
		t.Cleanup(func() { os.RemoveAll(dir) })
		dirs["shared memory"] = dir
	}
	return dirs
}

func TestFileAppearsWhole(t *testing.T) {
	for name, dir := range directories(t) {
		t.Run(name, func(t *testing.T) {
			target := filepath.Join(dir, "report.json")
			f := create(t, target, "text")
			for n := range content(t, dir) {
				if n == "report.json" {
					t.Error("there before it was published")
				}
			}
			if err := f.Publish(); err != nil {
				t.Fatal(err)
			}
			expectContent(t, dir, "published", map[string]string{"report.json": "text"})
			f.Discard()
			expectContent(t, dir, "discarded after that", map[string]string{"report.json": "text"})

			info, err := os.Stat(target)
			if err != nil || info.Mode().Perm()&^0o644 != 0 || info.Mode().Perm()&0o400 == 0 {
				t.Errorf("mode %v, error %v", info.Mode(), err)
			}
		})
	}
}

func TestFileReplacesAnother(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "report.json")
	if err := os.WriteFile(target, []byte("old and longer"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := create(t, target, "new")
	expectContent(t, dir, "written", map[string]string{"report.json": "old and longer"})
	if err := f.Publish(); err != nil {
		t.Fatal(err)
	}
	expectContent(t, dir, "published", map[string]string{"report.json": "new"})
}

// Nobody keeps a report from its place by taking names that it could have until
// then, and a target's name may be as long as names can be.
func TestFileNameCannotBeTaken(t *testing.T) {
	dir := t.TempDir()
	target := strings.Repeat("r", 255)
	f := create(t, filepath.Join(dir, target), "text")
	for _, name := range []string{".report.json", ".taskiso-"} {
		for _, suffix := range []string{"", strconv.Itoa(os.Getpid()), "." + strconv.Itoa(os.Getpid()), ".tmp"} {
			if err := os.WriteFile(filepath.Join(dir, name+suffix), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	taken := content(t, dir)
	if err := f.Publish(); err != nil {
		t.Fatal(err)
	}
	taken[target] = "text"
	expectContent(t, dir, "published", taken)

	names := make(map[string]bool)
	for range 100 {
		f := create(t, filepath.Join(dir, "report.json"), "text")
		if err := f.nameTemp(); err != nil {
			t.Fatal(err)
		}
		names[f.temp] = true
		f.Discard()
	}
	if len(names) != 100 {
		t.Errorf("100 files had %d names: they can be guessed", len(names))
	}
}

// Two files of one process in one directory do not get in each other's way.
func TestTwoFiles(t *testing.T) {
	dir := t.TempDir()
	a, b := create(t, filepath.Join(dir, "a"), "a"), create(t, filepath.Join(dir, "b"), "b")
	if err := errors.Join(b.Publish(), a.Publish()); err != nil {
		t.Fatal(err)
	}
	expectContent(t, dir, "published", map[string]string{"a": "a", "b": "b"})
}

func TestFileIsDiscarded(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "report.json")
	create(t, target, "text").Discard()
	expectContent(t, dir, "discarded", nil)

	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, target, "text").Discard()
	expectContent(t, dir, "discarded", map[string]string{"report.json": "old"})
}

// Where files need a name from the start, it goes with them.
func TestNamedFileIsDiscarded(t *testing.T) {
	dir := t.TempDir()
	f := create(t, filepath.Join(dir, "report.json"), "text")
	if err := f.nameTemp(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, dir); len(got) != 1 {
		t.Fatalf("the directory has %q, want one file", got)
	}
	f.Discard()
	expectContent(t, dir, "discarded", nil)
}

func TestNothingIsLeftOfAKilledWriter(t *testing.T) {
	dir := t.TempDir()
	writer := exec.Command(os.Args[0])
	writer.Env = append(os.Environ(), halfWritten+"="+filepath.Join(dir, "report.json"))
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.StdinPipe(); err != nil { // open until the end
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	var ready [6]byte
	if _, err := out.Read(ready[:]); err != nil || string(ready[:]) != "ready\n" {
		t.Errorf("writer said %q, error %v", ready, err)
	}
	writer.Process.Kill()
	writer.Wait()
	expectContent(t, dir, "killed", nil)
}

func TestFileErrors(t *testing.T) {
	dir := t.TempDir()
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	notDir := filepath.Join(dir, "file")
	if err := os.WriteFile(notDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, target string
		want         error
	}{
		{"no such directory", filepath.Join(dir, "none", "report.json"), fs.ErrNotExist},
		{"the target is a directory", dir, unix.EISDIR},
		{"a file in the path", filepath.Join(notDir, "report.json"), unix.ENOTDIR},
		{"a directory that is locked", filepath.Join(locked, "report.json"), fs.ErrPermission},
		{"procfs", "/proc/report.json", nil},
	} {
		if tc.want == fs.ErrPermission && os.Geteuid() == 0 {
			continue // root may write anywhere
		}
		f, err := Create(tc.target)
		if err == nil {
			f.Discard()
			t.Errorf("%s: %s was created", tc.name, tc.target)
			continue
		}
		if tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: got error %v, want %v", tc.name, err, tc.want)
		}
		if !strings.Contains(err.Error(), tc.target) {
			t.Errorf("%s: error %q does not name %s", tc.name, err, tc.target)
		}
	}
}

// A device is written as it is, and stays one. It is a node of the test's own:
// code that is wrong about this would replace a device of the machine.
func TestFileIntoADevice(t *testing.T) {
	null := filepath.Join(t.TempDir(), "null")
	if err := unix.Mknod(null, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("making a device: %v", err)
	}
	f, err := Create(null)
	if errors.Is(err, fs.ErrPermission) {
		t.Skipf("devices cannot be used here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("text"); err != nil {
		t.Error(err)
	}
	if err := f.Publish(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(null); err != nil || info.Mode()&fs.ModeCharDevice == 0 {
		t.Errorf("the device is %v now, error %v", info.Mode(), err)
	}
}

// So is a pipe.
func TestFileIntoAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	// Open for both, so that nothing waits for the other end, whatever the code does.
	reader, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	f := create(t, pipe, "text")
	if err := f.Publish(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(pipe); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Fatalf("the pipe is %v now, error %v", info.Mode(), err)
	}
	text := make([]byte, 10)
	if n, err := reader.Read(text); err != nil || string(text[:n]) != "text" {
		t.Errorf("read %q from the pipe, error %v", text[:n], err)
	}
}

// A symbolic link is replaced like any file: what it points to is not touched.
func TestFileInPlaceOfALink(t *testing.T) {
	dir := t.TempDir()
	elsewhere := filepath.Join(dir, "elsewhere")
	target := filepath.Join(dir, "report.json")
	if err := errors.Join(os.WriteFile(elsewhere, []byte("old"), 0o600), os.Symlink("elsewhere", target)); err != nil {
		t.Fatal(err)
	}
	if err := create(t, target, "new").Publish(); err != nil {
		t.Fatal(err)
	}
	expectContent(t, dir, "published", map[string]string{"report.json": "new", "elsewhere": "old"})
}

// An address of the kernel, in whatever parts it is written, is for the owner of the file only; what is like one is not.
func TestFileWithAddressesIsTheOwners(t *testing.T) {
	for _, tc := range []struct {
		parts []string
		want  fs.FileMode
	}{
		{[]string{`{"function": "do_sync_core", "user_ip": "0x7fff12345678"}`}, 0o644},
		{[]string{"0xffff", "1234"}, 0o644},
		{[]string{`{"function": "0xffffffff81000100"}`}, 0o600},
		{[]string{"stack 0xffff800", "0", "80010000 and more", "of it"}, 0o600},
	} {
		target := filepath.Join(t.TempDir(), "report")
		f, err := Create(target)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range tc.parts {
			if _, err := f.WriteString(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.Publish(); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(target)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(target); string(text) != strings.Join(tc.parts, "") || info.Mode().Perm() != tc.want {
			t.Errorf("%q: mode %v, text %q, %v; want mode %v", tc.parts, info.Mode(), text, err, tc.want)
		}
	}
}

func TestHideAddresses(t *testing.T) {
	got := HideAddresses("function-call IPI: 0xffffffff81000100; sent by a (0xffff800080010000) at 0x7fff12345678")
	if want := "function-call IPI: a function without a name; sent by a (a function without a name) at 0x7fff12345678"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A compressed file is its owner's only, whatever stands in it.
func TestRestrict(t *testing.T) {
	name := filepath.Join(t.TempDir(), "profile")
	f, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Discard()
	if err := errors.Join(f.Restrict(), f.Publish()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
