// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// What a directory reads as.
const (
	Absent  = ""
	Present = "present"
)

// Resctrl is the directory of resource control groups.
const Resctrl = "/sys/fs/resctrl"

// Directory is one of the kernel's, such as a cgroup; it is made, and removed by undo.
type Directory struct{ Text }

// Make returns the change that makes a directory.
func Make(dir string) Change {
	return Change{Path: dir, From: Absent, To: Present, Kind: Directory{}}
}

// MarshalText returns the name in journals.
func (Directory) MarshalText() ([]byte, error) { return []byte("directory"), nil }

func (Directory) traits() traits { return traits{makesDirectory: true} }

func (Directory) read(files Files, c Change) (string, error) {
	_, err := files.Read(path.Join(c.Path, member(c.Path)))
	if errors.Is(err, fs.ErrNotExist) {
		return Absent, nil
	}
	return Present, err
}

// member is a file that a directory has if it is there: a captured tree may have
// kept an empty one.
func member(dir string) string {
	if path.Dir(dir) == Resctrl {
		return "tasks"
	}
	return "cgroup.procs"
}

// ready leaves it to the kernel to refuse a directory that is there.
func (Directory) ready(Files, Change) (bool, error) { return true, nil }

func (Directory) apply(files Files, c Change) error { return files.Mkdir(c.Path) }

func (Directory) restore(files Files, c Change) error { return files.Rmdir(c.Path) }

func (Directory) describe(c Change) string { return fmt.Sprintf("%s: made", c.Path) }
