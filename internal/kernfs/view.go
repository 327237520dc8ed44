// SPDX-License-Identifier: Apache-2.0

package kernfs

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// view reads files with as few system calls as there can be: a plan for a large
// server reads thousands. [os.Root] opens one directory after the other on the way
// to a file; openat2 does the same walk, with the same rule, in one call.
type view struct {
	root *os.Root
	dir  *os.File // of the root
}

// View returns a read-only view for packages that take an [fs.FS]. As usual
// there, its paths have no leading slash: "proc/stat".
func (f *FS) View() fs.FS { return view{f.root, f.dir} }

// Open opens a file or directory.
func (v view) Open(name string) (fs.File, error) {
	fd, err := v.open(name)
	if errors.Is(err, unix.ENOSYS) {
		return v.root.FS().Open(name)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// ReadFile returns the whole file.
func (v view) ReadFile(name string) ([]byte, error) {
	text, _, err := v.ReadFileMode(name)
	return text, err
}

// ReadFileMode returns the whole file and its mode.
func (v view) ReadFileMode(name string) ([]byte, fs.FileMode, error) {
	fd, err := v.open(name)
	if errors.Is(err, unix.ENOSYS) {
		return readAll(v.root.FS(), name)
	}
	if err != nil {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, 0, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	text, err := readFD(fd)
	if err != nil {
		err = &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return text, fs.FileMode(st.Mode & 0o777), err
}

// open is for files that never block: those of the kernel, and regular ones.
func (v view) open(name string) (int, error) {
	if !fs.ValidPath(name) {
		return -1, fs.ErrInvalid
	}
	how := unix.OpenHow{Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH}
	for {
		fd, err := unix.Openat2(int(v.dir.Fd()), name, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) { // EAGAIN: a rename came in between
			return fd, err
		}
	}
}

func readFD(fd int) ([]byte, error) {
	text := make([]byte, 0, 512)
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := unix.Read(fd, text[len(text):cap(text)])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return text, err
		}
		text = text[:len(text)+n]
	}
}

func readAll(files fs.FS, name string) ([]byte, fs.FileMode, error) {
	file, err := files.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	text, err := io.ReadAll(file)
	return text, info.Mode().Perm(), err
}
