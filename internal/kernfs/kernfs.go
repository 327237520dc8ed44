// SPDX-License-Identifier: Apache-2.0

// Package kernfs opens the files of procfs, sysfs and cgroupfs. No other part of
// taskiso changes such files, so that the rules for that are kept in one place:
//
//   - A write never creates or truncates a file. A misspelt name is an error,
//     not a new file that nobody reads.
//   - Every error names the file or thread, and for a change also the value.
//   - What the kernel made of a value is read back, since it may accept a write
//     and do something else: [FS.WriteVerify].
//
// Files are found below a root directory, which tests replace by a directory
// of their own. What [Open] gives changes nothing: only [OpenWritable] does, and
// no test calls that for the machine it runs on.
package kernfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
)

var (
	// ErrNotTaken means that the kernel accepted a value but shows another one.
	ErrNotTaken = errors.New("the kernel shows another value after the write")
	// ErrReadOnly means that these files were opened to be read only.
	ErrReadOnly = errors.New("opened for reading only")
)

// FS is the tree of files below a root directory. Paths are those of the real
// system ("/proc/stat"); a path or symbolic link that leads out of the root is
// an error. Several goroutines may use an FS at once.
type FS struct {
	root     *os.Root
	dir      *os.File // of the root, for view
	writable bool
	captured bool // regular files, not the kernel's
}

// Open returns the files below path, "/" for those of this system, to be read.
// Whatever would change one fails with [ErrReadOnly].
func Open(path string) (*FS, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("opening kernel file systems at %s: %w", path, bare(err))
	}
	dir, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening kernel file systems at %s: %w", path, bare(err)), root.Close())
	}
	return &FS{root: root, dir: dir}, nil
}

// OpenWritable returns the files below dir to be read and changed.
func OpenWritable(dir string) (*FS, error) {
	f, err := Open(dir)
	if err != nil {
		return nil, err
	}
	f.writable = true
	return f, nil
}

// OpenCaptured returns the files below dir, the captured ones of some machine, to
// be read and changed.
func OpenCaptured(dir string) (*FS, error) {
	f, err := OpenWritable(dir)
	if err != nil {
		return nil, err
	}
	f.captured = true
	return f, nil
}

// ThisMachine returns nil if these are the files of the running system, opened to
// be changed: then its programs may be asked to change settings too.
func (f *FS) ThisMachine() error {
	if f.captured || !f.writable || f.root.Name() != "/" {
		return ErrReadOnly
	}
	return nil
}

// Close releases the root directory. Readers from [FS.View] stop working.
func (f *FS) Close() error { return errors.Join(f.dir.Close(), f.root.Close()) }

// Read returns the whole file without the newlines at its end.
func (f *FS) Read(path string) (string, error) {
	text, err := f.root.ReadFile(inRoot(path))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", f.fullPath(path), bare(err))
	}
	return strings.TrimRight(string(text), "\n"), nil
}

// Write writes value and a newline with one system call.
//
// The newline is what makes an empty value possible: sysfs and cgroupfs ignore
// writes of no bytes (sysfs_kf_write, cgroup_file_write), so an empty CPU list
// would otherwise leave the old one in place without an error.
func (f *FS) Write(path, value string) error {
	if err := f.write(inRoot(path), value+"\n"); err != nil {
		return fmt.Errorf("writing %q to %s: %w", value, f.fullPath(path), bare(err))
	}
	return nil
}

// WriteVerify writes value and reads the file back. If accept refuses what it
// reads, the error matches [ErrNotTaken] and holds it. The caller judges,
// because the kernel writes many values differently from how it takes them:
// "0,1" as "0-1", masks with leading zeros, or a reason behind the value.
func (f *FS) WriteVerify(path, value string, accept func(got string) bool) error {
	if err := f.Write(path, value); err != nil {
		return err
	}
	got, err := f.Read(path)
	if err != nil {
		return fmt.Errorf("verifying %q: %w", value, err)
	}
	if !accept(got) {
		return fmt.Errorf("writing %q to %s: %w: %q", value, f.fullPath(path), ErrNotTaken, got)
	}
	return nil
}

// Mkdir makes one directory, which in cgroupfs is a new cgroup.
func (f *FS) Mkdir(path string) error {
	err := f.mayWrite()
	if err == nil {
		err = f.root.Mkdir(inRoot(path), 0o755)
	}
	if err != nil {
		return fmt.Errorf("making the directory %s: %w", f.fullPath(path), bare(err))
	}
	return nil
}

// Rmdir removes a directory. One of cgroupfs goes with the files in it, unless
// it has processes or cgroups below it (EBUSY). It never removes a file.
func (f *FS) Rmdir(path string) error {
	if err := f.rmdir(inRoot(path)); err != nil {
		return fmt.Errorf("removing the directory %s: %w", f.fullPath(path), bare(err))
	}
	return nil
}

// SetAffinity lets the thread behind a directory of procfs ("/proc/12/task/13")
// run on cpus only. In a captured tree, whose threads are not those of this
// system, it fails with [ErrReadOnly].
func (f *FS) SetAffinity(thread string, cpus cpulist.Set) error {
	tid, dir, err := f.openThread(thread)
	if err != nil {
		return fmt.Errorf("setting the affinity of %s to CPU %v: %w", f.fullPath(thread), cpus, bare(err))
	}
	defer dir.Close()
	return affinity.Set(tid, cpus)
}

// openThread returns the number of a thread, and its directory, which is procfs and
// not an imitation.
func (f *FS) openThread(thread string) (tid int, dir *os.File, err error) {
	if err := f.mayWrite(); err != nil {
		return 0, nil, err
	}
	if tid, err = strconv.Atoi(filepath.Base(thread)); err != nil {
		return 0, nil, err
	}
	if dir, err = f.root.Open(inRoot(thread)); err != nil {
		return 0, nil, err
	}
	var fs unix.Statfs_t
	err = unix.Fstatfs(int(dir.Fd()), &fs)
	if err == nil && fs.Type != unix.PROC_SUPER_MAGIC {
		err = ErrReadOnly
	}
	if err != nil {
		dir.Close()
	}
	return tid, dir, err
}

func (f *FS) rmdir(name string) error {
	if err := f.mayWrite(); err != nil {
		return err
	}
	info, err := f.root.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return unix.ENOTDIR
	}
	return f.root.Remove(name)
}

func (f *FS) mayWrite() error {
	if !f.writable {
		return ErrReadOnly
	}
	return nil
}

func (f *FS) write(name, text string) error {
	if err := f.mayWrite(); err != nil {
		return err
	}
	file, err := f.root.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	n, err := file.WriteString(text)
	if err == nil && f.captured {
		err = file.Truncate(int64(n)) // a regular file would keep the rest of its old text
	}
	return errors.Join(err, file.Close())
}

func (f *FS) fullPath(path string) string { return filepath.Join(f.root.Name(), path) }

func inRoot(path string) string { return strings.TrimLeft(path, "/") }

// bare takes the path and operation out of an error of package os, so that a
// message does not name them twice.
func bare(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	return err
}
