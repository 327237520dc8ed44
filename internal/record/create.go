// SPDX-License-Identifier: Apache-2.0

package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// File is the file of a recording, which can be read while it is written. Only its owner may read it: it holds
// addresses of the kernel and the names of everybody's tasks.
type File struct {
	*os.File
	target string
	begun  bool
}

// Create makes the file of a recording. What has the name target stays until Begin. A target that another
// process records into, or that is no regular file, is an error.
func Create(target string) (*File, error) {
	if err := checkTarget(target); err != nil {
		return nil, fmt.Errorf("recording to %s: %w", target, err)
	}
	f, err := os.CreateTemp(filepath.Dir(target), temporary+"*") // with mode 0600
	if err != nil {
		return nil, fmt.Errorf("recording to %s: %w", target, err)
	}
	file := &File{File: f, target: target}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Discard()
		return nil, fmt.Errorf("recording to %s: locking it: %w", target, err)
	}
	return file, nil
}

// temporary begins the name of a file before Begin, and abandonedAfter is when one that nobody has locked was left by a
// recorder that was killed: one that is alive locks it as soon as it is made.
const (
	temporary      = ".taskiso-rec-"
	abandonedAfter = time.Minute
)

// RemoveAbandoned removes from a directory what recorders left that were killed before Begin.
func RemoveAbandoned(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for abandoned recordings: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), temporary) || !e.Type().IsRegular() {
			continue
		}
		errs = append(errs, removeAbandoned(filepath.Join(dir, e.Name())))
	}
	return errors.Join(errs...)
}

func removeAbandoned(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil // it has its own name meanwhile, or is not ours
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || time.Since(info.ModTime()) < abandonedAfter || unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing an abandoned recording: %w", err)
	}
	return nil
}

// checkTarget looks at what has the name already. A symbolic link is replaced, not followed.
func checkTarget(target string) error {
	info, err := os.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type()&^fs.ModeSymlink != 0:
		return errors.New("it is not a regular file")
	}
	f, err := os.OpenFile(target, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil // it cannot be read, or is a link: nobody who holds its lock is known
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return errors.New("another taskiso records to it now; choose another name")
	}
	return nil
}

// Begin gives the file its name, in place of what had it.
func (f *File) Begin() error {
	if err := os.Rename(f.Name(), f.target); err != nil {
		return fmt.Errorf("recording to %s: %w", f.target, err)
	}
	f.begun = true
	return nil
}

// Discard closes the file, and removes one that has not begun.
func (f *File) Discard() {
	if !f.begun {
		os.Remove(f.Name())
	}
	f.Close()
}
