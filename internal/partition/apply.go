// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/kernfs"
)

// Files is where changes are made: [kernfs.FS], or an imitation in tests.
type Files interface {
	Read(path string) (string, error)
	Write(path, value string) error
	Mkdir(path string) error
	Rmdir(path string) error
	SetAffinity(thread string, cpus cpulist.Set) error
}

// What a directory reads as.
const (
	dirAbsent  = ""
	dirPresent = "present"
)

// read returns the value that is there now.
func (c Change) read(files Files) (string, error) {
	switch c.Form {
	case Directory:
	case Affinity:
		return readAffinity(files, c.Path, c.Start)
	default:
		text, err := files.Read(c.Path)
		return c.Form.value(text), err
	}
	_, err := files.Read(c.Path + "/cgroup.procs")
	if errors.Is(err, fs.ErrNotExist) {
		return dirAbsent, nil
	}
	return dirPresent, err
}

// apply writes the new value and reads it back.
func (c Change) apply(files Files) error {
	switch c.Form {
	case Directory:
		return files.Mkdir(c.Path)
	case Cycle:
		return errors.Join(c.write(files, "0"), c.write(files, "1"))
	default:
		return c.write(files, c.To)
	}
}

// restore writes the value that was there before and reads it back.
func (c Change) restore(files Files) error {
	switch c.Form {
	case Directory:
		return files.Rmdir(c.Path)
	case Affinity:
		return c.restoreAffinity(files)
	default:
		return c.write(files, c.before())
	}
}

// before is what to write to have the old value again.
func (c Change) before() string {
	if c.Form == Controller {
		return "-" + c.To[len("+"):]
	}
	return c.From
}

func (c Change) write(files Files, value string) error {
	if err := files.Write(c.Path, value); err != nil {
		return err
	}
	got, err := files.Read(c.Path)
	if err != nil {
		return fmt.Errorf("verifying %q: %w", value, err)
	}
	if !c.Form.same(got, value) {
		return fmt.Errorf("writing %q to %s: %w: %q", value, c.Path, kernfs.ErrNotTaken, got)
	}
	return nil
}

// place is where a value stands between before and after.
type place int

const (
	asBefore place = iota
	asAfter
	asForeign // somebody else wrote it
)

func (c Change) placeOf(got string) place {
	if c.Form == Partition {
		got, _, _ = strings.Cut(got, " ") // one that has become invalid is ours all the same
	}
	switch {
	case c.Form == Cycle && got == c.From:
		return asBefore // it leaves nothing to restore, unless it was interrupted
	case c.Form.same(got, c.To):
		return asAfter
	case c.Form.same(got, c.before()):
		return asBefore
	default:
		return asForeign
	}
}

// refused tells whether err is how kernels say that they will not have a change
// that may fail: EIO for an interrupt that cannot be moved, or EPERM since
// write_irq_affinity was corrected; EBUSY for a deadline server whose bandwidth
// the kernel has lost account of (dl_server_apply_params).
func (c Change) refused(err error) bool {
	return c.MayFail && (errors.Is(err, unix.EIO) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY))
}

// Drift is a value that is no longer, or never was, what a partition made it.
type Drift struct {
	Path   string `json:"path"`
	Before string `json:"before"` // what undo restores
	Want   string `json:"want"`
	Got    string `json:"got"`
	// Suspect is who probably did it: a guess from what runs and what that is
	// known to do.
	Suspect string `json:"suspect,omitempty"`
}

func (c Change) drift(got string) Drift {
	return Drift{Path: c.Path, Before: c.From, Want: c.To, Got: got}
}

func (d Drift) String() string {
	return fmt.Sprintf("%s: is %q, was set to %q (before that %q)", d.Path, d.Got, d.Want, d.Before)
}
