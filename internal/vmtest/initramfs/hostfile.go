// SPDX-License-Identifier: Apache-2.0

package initramfs

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// HostFile adds the file or directory tree at host as guest. Symbolic links below host stay links, host itself is
// followed. A dynamically linked program brings its libraries along, if it is host itself.
func (w *Writer) HostFile(ctx context.Context, guest, host string) error {
	info, err := os.Stat(host)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return w.tree(guest, host)
	}
	if err := w.copyFile(guest, host, info); err != nil {
		return err
	}
	return w.libraries(ctx, host)
}

func (w *Writer) tree(guest, host string) error {
	return filepath.WalkDir(host, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, name)
		if err != nil {
			return err
		}
		return w.treeMember(path.Join(guest, filepath.ToSlash(rel)), name, d)
	})
}

func (w *Writer) treeMember(guest, host string, d fs.DirEntry) error {
	switch d.Type() {
	case fs.ModeDir:
		return w.Dir(guest)
	case fs.ModeSymlink:
		target, err := os.Readlink(host)
		if err != nil {
			return err
		}
		return w.Symlink(guest, target)
	case 0:
		return w.plainFile(guest, host)
	}
	return fmt.Errorf("adding %s to the archive: neither file, directory nor link", host)
}

func (w *Writer) plainFile(guest, host string) error {
	info, err := os.Stat(host)
	if err != nil {
		return err
	}
	return w.copyFile(guest, host, info)
}

func (w *Writer) copyFile(guest, host string, info fs.FileInfo) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	return w.File(guest, info.Mode().Perm(), info.Size(), f)
}
