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
	fd, err := v.open(name, unix.O_RDONLY)
	if errors.Is(err, unix.ENOSYS) {
		return v.root.FS().Open(name)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Stat opens nothing, so that it has an answer for sockets too.
func (v view) Stat(name string) (fs.FileInfo, error) {
	fd, err := v.open(name, unix.O_PATH)
	if errors.Is(err, unix.ENOSYS) {
		return v.root.Stat(name)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	file := os.NewFile(uintptr(fd), name)
	defer file.Close()
	return file.Stat()
}

// ReadFile returns the whole file.
func (v view) ReadFile(name string) ([]byte, error) {
	text, _, err := v.read(name, readFD, false)
	return text, err
}

// ReadValue returns a file that the kernel makes as one piece, as it does those of a
// single value: of a view, the first read has all of it if its buffer was not filled.
func ReadValue(files fs.FS, name string) ([]byte, error) {
	if v, ok := files.(view); ok {
		text, _, err := v.read(name, readPiece, false)
		return text, err
	}
	text, _, err := readAll(files, name)
	return text, err
}

// ReadValueMode is ReadValue, and gives the file's mode.
func ReadValueMode(files fs.FS, name string) ([]byte, fs.FileMode, error) {
	if v, ok := files.(view); ok {
		return v.read(name, readPiece, true)
	}
	return readAll(files, name)
}

func (v view) read(name string, all func(fd int) ([]byte, error), withMode bool) ([]byte, fs.FileMode, error) {
	fd, err := v.open(name, unix.O_RDONLY)
	if errors.Is(err, unix.ENOSYS) {
		return readAll(v.root.FS(), name)
	}
	if err != nil {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if withMode {
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, 0, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
	}
	text, err := all(fd)
	if err != nil {
		err = &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return text, fs.FileMode(st.Mode & 0o777), err
}

// ReadLink returns the target of a symbolic link, and Lstat what the link is; neither follows it.
func (v view) ReadLink(name string) (string, error) { return v.root.Readlink(name) }

func (v view) Lstat(name string) (fs.FileInfo, error) { return v.root.Lstat(name) }

// open is for files that never block: those of the kernel, and regular ones.
func (v view) open(name string, flags uint64) (int, error) {
	if !fs.ValidPath(name) {
		return -1, fs.ErrInvalid
	}
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH}
	for {
		fd, err := unix.Openat2(int(v.dir.Fd()), name, &how)
		if !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.EAGAIN) { // EAGAIN: a rename came in between
			return fd, err
		}
	}
}

// readPiece ends with the first read that does not fill its buffer.
func readPiece(fd int) ([]byte, error) {
	text := make([]byte, 512)
	n, err := readOnce(fd, text)
	if err != nil || n < len(text) {
		return text[:n], err
	}
	rest, err := readFD(fd)
	return append(text, rest...), err
}

func readOnce(fd int, text []byte) (int, error) {
	for {
		n, err := unix.Read(fd, text)
		if err == nil {
			return n, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return 0, err
		}
	}
}

func readFD(fd int) ([]byte, error) {
	text := make([]byte, 0, 512)
	for {
		if len(text) == cap(text) {
			text = append(text, 0)[:len(text)]
		}
		n, err := readOnce(fd, text[len(text):cap(text)])
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
	text, err := io.ReadAll(file) // not fs.ReadFile: it begins with one byte, and sysctls give no more then
	return text, info.Mode().Perm(), err
}
