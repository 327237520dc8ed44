// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"io/fs"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// mount is one file system that is mounted.
type mount struct {
	dir, kind string
	readOnly  bool
}

// mounts are all that are mounted, in their order: of two on a directory the later one
// is on top.
type mounts []mount

// readMounts returns the mounts of a machine.
func readMounts(files fs.FS) mounts {
	text, err := fs.ReadFile(files, "proc/mounts")
	if err != nil {
		return nil
	}
	var list mounts
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) >= 4 {
			list = append(list, mount{fields[1], fields[2], slices.Contains(strings.Split(fields[3], ","), "ro")})
		}
	}
	return list
}

// on returns the mount that a path is on.
func (all mounts) on(path string) (on mount) {
	for _, m := range all {
		below := path == m.dir || strings.HasPrefix(path, strings.TrimSuffix(m.dir, "/")+"/")
		if below && len(m.dir) >= len(on.dir) {
			on = m
		}
	}
	return on
}

// readOnly returns the first change that cannot be made because its file system is
// mounted read-only, for example in a container.
func (all mounts) readOnly(list []change.Change) (dir string, found bool) {
	for _, c := range list {
		if m := all.on(c.Path); m.readOnly && c.IsInFile() {
			return m.dir, true
		}
	}
	return "", false
}
