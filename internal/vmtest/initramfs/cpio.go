// SPDX-License-Identifier: Apache-2.0

// Package initramfs builds the archive from which a Linux guest without a disk runs.
package initramfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	magic   = "070701" // "newc", Documentation/driver-api/early-userspace/buffer-format.rst in Linux
	trailer = "TRAILER!!!"
)

// Writer writes a cpio archive in the "newc" form that Linux unpacks. Parents are created as needed, everything belongs
// to root and carries no time. It is not safe for concurrent use.
type Writer struct {
	w       io.Writer
	inode   uint32
	written map[string]bool
}

// NewWriter returns a Writer of an archive on w. The archive begins with the usual links between library directories:
// /lib, /lib64 and /usr/lib64 are /usr/lib.
func NewWriter(w io.Writer) (*Writer, error) {
	archive := &Writer{w: w, written: map[string]bool{}}
	return archive, archive.mergeLibraries()
}

// entry is one member. name has no leading slash.
type entry struct {
	name         string
	mode         uint32
	size         int64
	major, minor uint32
}

// Dir adds a directory.
func (w *Writer) Dir(name string) error {
	return w.add(entry{name: name, mode: unix.S_IFDIR | 0o755}, nil)
}

// File adds a file of size bytes, read from content.
func (w *Writer) File(name string, perm fs.FileMode, size int64, content io.Reader) error {
	return w.add(entry{name: name, mode: unix.S_IFREG | uint32(perm.Perm()), size: size}, content)
}

// Symlink adds a symbolic link.
func (w *Writer) Symlink(name, target string) error {
	e := entry{name: name, mode: unix.S_IFLNK | 0o777, size: int64(len(target))}
	return w.add(e, strings.NewReader(target))
}

// CharDevice adds a device node.
func (w *Writer) CharDevice(name string, perm fs.FileMode, major, minor uint32) error {
	return w.add(entry{name: name, mode: unix.S_IFCHR | uint32(perm.Perm()), major: major, minor: minor}, nil)
}

// Close writes the end of the archive. It does not close the underlying writer.
func (w *Writer) Close() error {
	return w.write(entry{name: trailer}, nil)
}

func (w *Writer) add(e entry, content io.Reader) error {
	e.name = place(e.name)
	if e.name == "" {
		return nil
	}
	isDir := e.mode&unix.S_IFMT == unix.S_IFDIR
	if w.written[e.name] {
		if isDir {
			return nil
		}
		return fmt.Errorf("adding %s to the archive: %w", e.name, fs.ErrExist)
	}
	if err := w.Dir(path.Dir("/" + e.name)); err != nil {
		return err
	}
	w.written[e.name] = true
	return w.write(e, content)
}

// place cleans a name. Linux replaces a link by a directory of the same name, so names below links are spelled out.
func place(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for _, link := range []string{"lib/", "lib64/", "usr/lib64/"} {
		if rest, ok := strings.CutPrefix(name, link); ok {
			return libraryDir + "/" + rest
		}
	}
	return name
}

func (w *Writer) write(e entry, content io.Reader) error {
	if e.size < 0 || e.size > math.MaxUint32 {
		return fmt.Errorf("adding %s to the archive: size %d does not fit", e.name, e.size)
	}
	w.inode++
	// Times, owner and the device that held the file are left zero; the checksum is unused in this form.
	header := fmt.Sprintf("%s%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", magic,
		w.inode, e.mode, 0, 0, 1, 0, e.size, 0, 0, e.major, e.minor, len(e.name)+1, 0, e.name)
	if err := w.padded(strings.NewReader(header), int64(len(header))); err != nil {
		return fmt.Errorf("adding %s to the archive: %w", e.name, err)
	}
	if e.size == 0 {
		return nil
	}
	if err := w.padded(content, e.size); err != nil {
		return fmt.Errorf("adding %s to the archive: %w", e.name, err)
	}
	return nil
}

// padded copies exactly size bytes and fills up to a multiple of four.
func (w *Writer) padded(content io.Reader, size int64) error {
	if _, err := io.CopyN(w.w, content, size); err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	_, err := w.w.Write(make([]byte, -size&3))
	return err
}
