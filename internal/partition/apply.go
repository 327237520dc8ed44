// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/kernfs"
)

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
	case Slice:
		return c.readSlice(files)
	case Banned:
		banned, _, err := readBanned(files, c.Path)
		return banned.String(), err
	default:
		text, err := files.Read(c.Path)
		if c.Form == Schema && err == nil {
			text = schemaOf(text, c.To)
		}
		return c.Form.value(text), err
	}
	_, err := files.Read(path.Join(c.Path, c.member()))
	if errors.Is(err, fs.ErrNotExist) {
		return dirAbsent, nil
	}
	return dirPresent, err
}

// member is a file that a directory has if it is there: a captured tree may have
// kept an empty one.
func (c Change) member() string {
	if path.Dir(c.Path) == resctrlRoot {
		return "tasks"
	}
	return "cgroup.procs"
}

// apply writes the new value and reads it back.
func (c Change) apply(files Files) error {
	switch c.Form {
	case Directory:
		return files.Mkdir(c.Path)
	case Cycle:
		return errors.Join(c.write(files, "0"), c.write(files, "1"))
	case Slice:
		return c.startSlice(files)
	case Partition:
		return c.makePartition(files)
	case Banned:
		return c.ban(files, c.To) // which it does later: that is seen by the effect
	default:
		return c.write(files, c.To)
	}
}

// errHousekeeping is why some kernels make no partition of CPUs that isolcpus= isolates
// (prstate_housekeeping_conflict).
var errHousekeeping = errors.New("the kernel makes no partition of CPUs isolated at boot")

// makePartition leaves the cgroup without a partition, rather than with one that is not valid and could become it at any
// time, if the kernel makes none and it may fail.
func (c Change) makePartition(files Files) error {
	err := c.write(files, c.To)
	if !errors.Is(err, kernfs.ErrNotTaken) {
		return err
	}
	if got, _ := files.Read(c.Path); !strings.Contains(got, "housekeeping") {
		return err
	}
	if !c.MayFail {
		return fmt.Errorf("%w; choose CPUs all of which, or none, are isolated at boot, or use --partition none", err)
	}
	if err := c.write(files, c.From); err != nil {
		return err
	}
	return errHousekeeping
}

// restore writes the value that was there before and reads it back.
func (c Change) restore(files Files) error {
	switch c.Form {
	case Directory:
		return files.Rmdir(c.Path)
	case Affinity:
		return c.restoreAffinity(files)
	case Slice:
		return c.stopSlice(files)
	case Banned:
		return c.restoreBanned(files)
	default:
		return c.write(files, c.before())
	}
}

// pending tells whether somebody else makes the change, who may have been told and
// not have done it yet: then it is undone also if it cannot be seen.
func (c Change) pending() bool { return c.Form == Banned || c.Form == Slice }

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
	case c.Form == Schema && c.From == "":
		return asBefore // of a group that goes as a whole
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
// the kernel has lost account of (dl_server_apply_params); errHousekeeping for a partition.
func (c Change) refused(err error) bool {
	return c.MayFail && (errors.Is(err, errHousekeeping) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY))
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
