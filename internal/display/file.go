// SPDX-License-Identifier: Apache-2.0

package display

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

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
	direct bool   // written in place: the target is not a regular file

	restricted bool   // only its owner may read it
	tail       []byte // the last bytes written: an address may be written in two parts
}

// tempPrefix begins the names of files that are not published yet.
const tempPrefix = ".taskiso-"

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
	f, err := os.CreateTemp(dir, tempPrefix+"*")
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

// Write writes to the file, which only its owner may read once an address of the kernel stands in it: that helps to
// attack the kernel, which hides it from others.
func (f *File) Write(p []byte) (int, error) {
	if err := f.restrict(p); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

// WriteString is Write for text.
func (f *File) WriteString(text string) (int, error) { return f.Write([]byte(text)) }

// Restrict lets only the owner read the file. A file whose addresses Write cannot see, because they are compressed, needs it.
func (f *File) Restrict() error {
	if f.direct || f.restricted {
		return nil
	}
	if err := f.Chmod(0o600); err != nil {
		return fmt.Errorf("restricting who reads %s: %w", f.target, err)
	}
	f.restricted = true
	return nil
}

func (f *File) restrict(p []byte) error {
	if f.direct || f.restricted {
		return nil
	}
	f.tail = append(f.tail, p...)
	if bytes.Contains(f.tail, []byte("0xffff")) && kernelAddress.Match(f.tail) {
		if err := f.Restrict(); err != nil {
			return err
		}
	}
	f.tail = append(f.tail[:0], f.tail[max(0, len(f.tail)-addressLength+1):]...)
	return nil
}

// kernelAddress is the form of a kernel address without a name.
var kernelAddress = regexp.MustCompile("0xffff[0-9a-f]{12}")

const addressLength = len("0xffff") + 12

// HideAddresses returns text for readers to whom the kernel does not show its addresses.
func HideAddresses(text string) string {
	return kernelAddress.ReplaceAllString(text, "a function without a name")
}

// Publish writes what write writes to a file of that name, which appears whole or not at all.
func Publish(name string, write func(io.Writer) error) error {
	f, err := Create(name)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := write(f); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return f.Publish()
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
// file that exists, only a rename can. The name is one that nobody can have
// guessed: in a directory where others may create files, they could take it. It
// does not have the target's in it, which may be as long as a name can be.
func (f *File) nameTemp() error {
	self := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	for {
		temp := filepath.Join(filepath.Dir(f.target), tempPrefix+rand.Text())
		err := unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, temp, unix.AT_SYMLINK_FOLLOW)
		switch {
		case err == nil:
			f.temp = temp
			return nil
		case !errors.Is(err, unix.EEXIST):
			return fmt.Errorf("naming it %s: %w", temp, err)
		}
	}
}

// Discard drops a file that was not published. It does nothing after Publish.
func (f *File) Discard() {
	if f.temp != "" {
		os.Remove(f.temp)
	}
	f.Close()
}
