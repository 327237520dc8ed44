// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// File is a file that appears whole or not at all.
//
// It has no name until it is published, so that nothing is left of it when the
// process is killed. Where the file system has no nameless files, and where the
// target is a device or a pipe, what can be had instead is used.
type File struct {
	*os.File
	target string
	temp   string // its name until it is published, if it has one
	direct bool   // written in place: the target is no regular file
}

// Create opens a file that will be published as target.
func Create(target string) (*File, error) {
	if info, err := os.Stat(target); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return nil, fmt.Errorf("creating %s: %w", target, unix.EISDIR)
		}
		f, err := os.OpenFile(target, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		return &File{File: f, target: target, direct: true}, nil
	}
	dir := filepath.Dir(target)
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err == nil {
		return &File{File: os.NewFile(uintptr(fd), target), target: target}, nil
	}
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return nil, fmt.Errorf("creating %s: %w", target, err)
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(target)+".*")
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", target, err)
	}
	file := &File{File: f, target: target, temp: f.Name()}
	if err := f.Chmod(0o644); err != nil {
		file.Discard()
		return nil, fmt.Errorf("creating %s: %w", target, err)
	}
	return file, nil
}

// Publish gives the file its name, in place of a file that has it already, and
// closes it.
func (f *File) Publish() error {
	if f.direct {
		return f.Close()
	}
	if err := f.publish(); err != nil {
		f.Discard()
		return fmt.Errorf("writing %s: %w", f.target, err)
	}
	return f.Close()
}

func (f *File) publish() error {
	if err := f.Sync(); err != nil {
		return err
	}
	if f.temp == "" {
		if err := f.nameTemp(); err != nil {
			return err
		}
	}
	if err := os.Rename(f.temp, f.target); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(f.target))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync() // the name, too, survives a crash
}

// nameTemp gives the file a name beside its target: a link cannot replace a
// file that exists, only a rename can.
func (f *File) nameTemp() error {
	temp := filepath.Join(filepath.Dir(f.target), fmt.Sprintf(".%s.%d", filepath.Base(f.target), os.Getpid()))
	self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, temp, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("naming it %s: %w", temp, err)
	}
	f.temp = temp
	return nil
}

// Discard drops a file that was not published. It does nothing after Publish.
func (f *File) Discard() {
	if f.temp != "" {
		os.Remove(f.temp)
	}
	f.Close()
}
