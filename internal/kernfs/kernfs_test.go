// SPDX-License-Identifier: Apache-2.0

package kernfs

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskiso/taskiso/cpulist"
)

func openTree(t *testing.T, files map[string]string) (*FS, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return open(t, dir), dir
}

func open(t *testing.T, dir string) *FS {
	t.Helper()
	fsys, err := OpenWritable(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fsys.Close() })
	return fsys
}

func TestOpenMissing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	_, err := Open(dir)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v, want fs.ErrNotExist with %s", err, dir)
	}
}

func TestRead(t *testing.T) {
	fsys, dir := openTree(t, map[string]string{"sys/a": "0-3\n", "sys/empty": "", "sys/two": "x\n\n"})
	for path, want := range map[string]string{"/sys/a": "0-3", "sys/a": "0-3", "/sys/empty": "", "/sys/two": "x"} {
		if got, err := fsys.Read(path); err != nil || got != want {
			t.Errorf("Read(%s) = %q, %v, want %q", path, got, err, want)
		}
	}
	_, err := fsys.Read("/sys/none")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	if want := "reading " + dir + "/sys/none: no such file or directory"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if _, err := fsys.Read("/sys"); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("error %v, want EISDIR", err)
	}
}

// TestReadLong guards against readers that stop after one buffer: CPU lists and
// /proc/interrupts of large machines have many pages.
func TestReadLong(t *testing.T) {
	text := strings.Repeat("1234567 ", 1<<17)
	fsys, _ := openTree(t, map[string]string{"proc/long": text + "\n"})
	if got, err := fsys.Read("/proc/long"); err != nil || got != text {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(text))
	}
}

func TestLinkOutside(t *testing.T) {
	fsys, dir := openTree(t, map[string]string{"inside": "x"})
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/link", "/../outside"} {
		if text, err := fsys.Read(path); err == nil {
			t.Errorf("Read(%s) left the root and read %q", path, text)
		}
		if err := fsys.Write(path, "new"); err == nil {
			t.Errorf("Write(%s) left the root", path)
		}
	}
}

func TestWriteKeepsRest(t *testing.T) {
	fsys, dir := openTree(t, map[string]string{"sys/a": "123456"})
	if err := fsys.Write("/sys/a", "9"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "sys/a"))
	if err != nil || string(got) != "9\n3456" {
		t.Errorf("file holds %q, %v, want it overwritten but not truncated", got, err)
	}
}

func TestWriteMissing(t *testing.T) {
	fsys, dir := openTree(t, map[string]string{"sys/a": ""})
	err := fsys.Write("/sys/b", "0-3")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	if want := `writing "0-3" to ` + dir + "/sys/b: no such file or directory"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "sys/b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the write created the file: %v", err)
	}
}

func TestDirectories(t *testing.T) {
	fsys, dir := openTree(t, map[string]string{"sys/a": "1"})
	if err := fsys.Mkdir("/sys/group"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "sys/group")); err != nil || !info.IsDir() {
		t.Errorf("got %v, %v, want a directory", info, err)
	}
	if err := fsys.Mkdir("/sys/group"); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "/sys/group: file exists") {
		t.Errorf("error %v, want fs.ErrExist with the name", err)
	}
	if err := fsys.Rmdir("/sys/group"); err != nil {
		t.Error(err)
	}
	if err := fsys.Rmdir("/sys/group"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	if err := fsys.Rmdir("/sys/a"); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("removing a file: error %v, want ENOTDIR", err)
	}
	if err := fsys.Rmdir("/sys"); err == nil {
		t.Error("removed a directory that is not empty")
	}
}

func TestWriteVerify(t *testing.T) {
	fsys, _ := openTree(t, map[string]string{"sys/a": ""})
	exactly := func(want string) func(string) bool {
		return func(got string) bool { return got == want }
	}
	if err := fsys.WriteVerify("/sys/a", "0-3", exactly("0-3")); err != nil {
		t.Error(err)
	}
	err := fsys.WriteVerify("/sys/a", "0-4", exactly("other"))
	if !errors.Is(err, ErrNotTaken) || !strings.Contains(err.Error(), `after the write: "0-4"`) {
		t.Errorf("got %v, want ErrNotTaken with what was read", err)
	}
	if err := fsys.WriteVerify("/sys/none", "1", exactly("1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}

// TestRealKernel uses files of this very process, which harm nobody.
func TestRealKernel(t *testing.T) {
	fsys := open(t, "/")
	const comm = "/proc/self/comm"
	before, err := fsys.Read(comm)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fsys.Write(comm, before); err != nil {
			t.Error(err)
		}
	})
	accept := func(got string) bool { return got == "kernfs-test" }
	if err := fsys.WriteVerify(comm, "kernfs-test", accept); err != nil {
		t.Error(err)
	}
	// The kernel cuts a name after 15 bytes (TASK_COMM_LEN) without an error:
	// just what reading back is for.
	err = fsys.WriteVerify(comm, "a-much-too-long-name", func(got string) bool { return got == "a-much-too-long-name" })
	if !errors.Is(err, ErrNotTaken) || !strings.Contains(err.Error(), `"a-much-too-long"`) {
		t.Errorf("got %v, want ErrNotTaken with the name as cut", err)
	}
	// oom_score_adj ends at 1000, so this changes nothing.
	if err := fsys.Write("/proc/self/oom_score_adj", "5000"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("error %v, want EINVAL", err)
	}
}

func TestView(t *testing.T) {
	fsys, _ := openTree(t, map[string]string{"sys/a": "1\n", "sys/b": "2\n", "proc/c": "3\n"})
	names, err := fs.Glob(fsys.View(), "sys/*")
	if err != nil || strings.Join(names, " ") != "sys/a sys/b" {
		t.Errorf("got %v, %v, want sys/a and sys/b", names, err)
	}
	text, err := fs.ReadFile(fsys.View(), "proc/c")
	if err != nil || string(text) != "3\n" {
		t.Errorf("got %q, %v", text, err)
	}
}

// TestNoDescriptorLeft checks that neither success nor failure leaves a file
// open: taskiso writes many files in a long life.
func TestNoDescriptorLeft(t *testing.T) {
	fsys, _ := openTree(t, map[string]string{"sys/a": "1\n"})
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := count()
	for range 100 {
		_, _ = fsys.Read("/sys/a")
		_, _ = fsys.Read("/sys/none")
		_ = fsys.Write("/sys/a", "2")
		_ = fsys.Write("/sys/none", "2")
	}
	// The runtime may open an epoll descriptor of its own meanwhile.
	if after := count(); after > before+2 {
		t.Errorf("%d descriptors open after 100 rounds, %d before", after, before)
	}
}

// In a captured tree a shorter value leaves nothing of a longer one.
func TestWriteCaptured(t *testing.T) {
	_, dir := openTree(t, map[string]string{"sys/a": "0-3\n"})
	fsys, err := OpenCaptured(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	if err := fsys.Write("/sys/a", "1"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "sys/a")); err != nil || string(got) != "1\n" {
		t.Errorf("file holds %q, %v", got, err)
	}
}

// What was opened for reading changes nothing.
func TestReadOnly(t *testing.T) {
	_, dir := openTree(t, map[string]string{"sys/a": "0\n", "sys/dir/x": ""})
	fsys, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fsys.Close()
	one, err := cpulist.Parse("0")
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"Write":       fsys.Write("/sys/a", "1"),
		"WriteVerify": fsys.WriteVerify("/sys/a", "1", func(string) bool { return true }),
		"Mkdir":       fsys.Mkdir("/sys/new"),
		"Rmdir":       fsys.Rmdir("/sys/dir"),
		"SetAffinity": fsys.SetAffinity("/proc/1/task/1", one),
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v, want ErrReadOnly", what, err)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "sys/a")); err != nil || string(text) != "0\n" {
		t.Errorf("the file holds %q, %v", text, err)
	}
}

// The threads of a captured tree are not those of this system.
func TestAffinityOfCapturedThread(t *testing.T) {
	self := fmt.Sprintf("/proc/%d/task/%[1]d", os.Getpid())
	fsys, _ := openTree(t, map[string]string{self + "/status": "Cpus_allowed_list:\t0\n"})
	all, err := cpulist.Parse("0-1023")
	if err != nil {
		t.Fatal(err)
	}
	if err := fsys.SetAffinity(self, all); !errors.Is(err, ErrReadOnly) {
		t.Errorf("got %v, want ErrReadOnly", err)
	}
}

// TestReadValue: also of a value that is longer than the first read.
func TestReadValue(t *testing.T) {
	long := strings.Repeat("1234567 ", 1<<10) + "\n"
	fsys, dir := openTree(t, map[string]string{"sys/a": "0-3\n", "sys/long": long, "sys/even": long[:512], "sys/empty": ""})
	if err := os.Chmod(filepath.Join(dir, "sys/a"), 0o444); err != nil {
		t.Fatal(err)
	}
	for _, v := range []fs.FS{fsys.View(), os.DirFS(dir)} {
		for path, want := range map[string]string{"sys/a": "0-3\n", "sys/long": long, "sys/even": long[:512], "sys/empty": ""} {
			if got, err := ReadValue(v, path); err != nil || string(got) != want {
				t.Errorf("%T: %s: %d bytes, %v, want %d", v, path, len(got), err, len(want))
			}
		}
		if _, mode, err := ReadValueMode(v, "sys/a"); err != nil || mode != 0o444 {
			t.Errorf("%T: mode %v, %v, want 0444", v, mode, err)
		}
		if _, err := ReadValue(v, "sys/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%T: error %v, want fs.ErrNotExist", v, err)
		}
	}
}

// TestStat: a socket, which cannot be opened, is there.
func TestStat(t *testing.T) {
	fsys, dir := openTree(t, map[string]string{"run/a": ""})
	listener, err := net.Listen("unix", filepath.Join(dir, "run/s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if info, err := fs.Stat(fsys.View(), "run/s"); err != nil || info.Mode().Type() != fs.ModeSocket || info.Name() != "s" {
		t.Errorf("%v, %v, want a socket", info, err)
	}
	if _, err := fs.Stat(fsys.View(), "run/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
}
