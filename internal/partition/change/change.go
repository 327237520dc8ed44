// SPDX-License-Identifier: Apache-2.0

package change

import (
	"encoding"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/printable"
)

// Errors of changes. Test for them with [errors.Is].
var (
	ErrForeign = errors.New("somebody else changed settings since")
	ErrBusy    = errors.New("processes run in its cgroup")
)

// Change is one value to write.
type Change struct {
	Path string `json:"path"`
	From string `json:"from"`
	To   string `json:"to"`
	Kind Kind   `json:"form"`
	// MayFail marks a write that some kernels refuse without a sign of it before.
	// The failure is not a reason to give up all others.
	MayFail bool `json:"may_fail,omitempty"`
	// Start distinguishes a thread from a later one of the same number: when it began,
	// in ticks since boot.
	Start string `json:"start,omitempty"`
}

// Kind is how a value is read, written, compared and described. The kinds are types of this package; each embeds another
// one, most of them [Text], and has what differs from it.
type Kind interface {
	encoding.TextMarshaler // the name in journals

	// value extracts the value to restore from the text of a file.
	value(text string) string
	// same reports whether a file that shows text holds value.
	same(text, value string) bool
	read(Files, Change) (string, error)
	// ready reports whether the change is still to be made, and refuses one whose value is not the planned one.
	ready(Files, Change) (bool, error)
	// apply writes the new value, and restore the one before. Both read it back.
	apply(Files, Change) error
	restore(Files, Change) error
	// place is where a value is between before and after.
	place(c Change, got string) Place
	describe(Change) string
	traits() traits

	// Of a change that another program makes: how long that takes, what it has not done yet, and whether it may
	// have given other the value got by its own choice.
	delay(Files, Change) time.Duration
	outstanding(Files, Change) string
	governs(other Change, got string, cpus cpulist.Set) bool
}

// traits are what a maker of changes has to know of a kind.
type traits struct {
	makesDirectory bool // at its path
	delegated      bool // another program makes the change
	ofThread       bool // whose owner may change it at any time
}

// Place is where a value is between before and after.
type Place int

// Places.
const (
	AsBefore Place = iota
	AsAfter
	AsForeign // somebody else wrote it
)

// To returns the change from the text of a file to a value, none if the file holds that value already.
func To(value, path, shown string, kind Kind) []Change {
	if kind.same(shown, value) {
		return nil
	}
	return []Change{{Path: path, From: kind.value(shown), To: value, Kind: kind}}
}

// Read returns the value that is there now.
func (c Change) Read(files Files) (string, error) { return c.Kind.read(files, c) }

// Ready reports whether the change is still to be made. A thread that has ended meanwhile is not an error; any other
// value than the planned one gives an error that matches [ErrForeign].
func (c Change) Ready(files Files) (bool, error) { return c.Kind.ready(files, c) }

// Apply writes the new value and reads it back.
func (c Change) Apply(files Files) error { return c.Kind.apply(files, c) }

// Restore writes the value that was there before and reads it back.
func (c Change) Restore(files Files) error { return c.Kind.restore(files, c) }

// Holds reports whether a value that was read is the new one.
func (c Change) Holds(got string) bool { return c.Kind.same(got, c.To) }

// Place returns where a value that was read is between before and after.
func (c Change) Place(got string) Place { return c.Kind.place(c, got) }

// String describes the change for a reader. Paths and values are as others chose them, and so are escaped.
func (c Change) String() string { return printable.Text(c.Kind.describe(c)) }

// Directory returns the directory that the change makes, "" if it makes none.
func (c Change) Directory() string {
	if c.Kind.traits().makesDirectory {
		return c.Path
	}
	return ""
}

// IsDelegated reports whether another program makes the change. That program may have been asked and not have made it
// yet: then the change is undone even if it cannot be seen.
func (c Change) IsDelegated() bool { return c.Kind.traits().delegated }

// IsOfThread reports whether it is of a thread, whose owner may change it at any time: that is not a drift.
func (c Change) IsOfThread() bool { return c.Kind.traits().ofThread }

// IsInFile reports whether a file is written, which a mount may not allow.
func (c Change) IsInFile() bool { return !c.IsDelegated() && !c.IsOfThread() }

// Delay is how long the effect may take because another program acts later.
func (c Change) Delay(files Files) time.Duration { return c.Kind.delay(files, c) }

// Outstanding describes what another program has not done yet, "" if it has done all of it.
func (c Change) Outstanding(files Files) string { return c.Kind.outstanding(files, c) }

// Governs reports whether a value of another change may be a choice of the program that c was asked of, which keeps off
// the CPUs: then it is not foreign.
func (c Change) Governs(other Change, got string, cpus cpulist.Set) bool {
	return c.Kind.governs(other, got, cpus)
}

// Follows reports whether c began with the value that earlier had written.
func (c Change) Follows(earlier Change) bool {
	return c.Path == earlier.Path && c.Kind.same(c.From, earlier.To)
}

// Refused reports whether err is the answer of kernels that refuse a change which
// may fail: EIO for an interrupt that cannot be moved, or EPERM since
// write_irq_affinity was corrected; EBUSY for a deadline server whose bandwidth
// the kernel has lost account of (dl_server_apply_params); errHousekeeping for a partition.
func (c Change) Refused(err error) bool {
	return c.MayFail && (errors.Is(err, errHousekeeping) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EBUSY))
}

// errHousekeeping is why some kernels make no partition of CPUs that isolcpus= isolates
// (prstate_housekeeping_conflict).
var errHousekeeping = errors.New("the kernel makes no partition of CPUs isolated at boot")

// checkForeign refuses a value that is not the planned one.
func (c Change) checkForeign(files Files) (bool, error) {
	got, err := c.Read(files)
	if err != nil {
		return false, err
	}
	if c.Place(got) != AsBefore {
		return false, fmt.Errorf("%s: %w: %q when planned, now %q", c.Path, ErrForeign, c.From, got)
	}
	return true, nil
}

// between places a value that is the same as before or after.
func (c Change) between(got, before string) Place {
	switch {
	case c.Kind.same(got, c.To):
		return AsAfter
	case c.Kind.same(got, before):
		return AsBefore
	default:
		return AsForeign
	}
}
