// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

// Affinity is the CPU list of a thread, which has no file to write. One whose list stays as it is is only noted, to be
// restored if the kernel forgets it.
type Affinity struct{ List }

// OfThread returns the change of a thread's affinity.
func OfThread(t thread.Thread, to cpulist.Set) Change {
	return Change{Path: t.Dir, From: t.Allowed.String(), To: to.String(), Kind: Affinity{}, Start: t.Start}
}

// MarshalText returns the name in journals.
func (Affinity) MarshalText() ([]byte, error) { return []byte("affinity"), nil }

func (Affinity) traits() traits { return traits{ofThread: true} }

// read returns the CPUs of a thread. One of another start has only its
// number.
func (Affinity) read(files Files, c Change) (string, error) {
	t, err := thread.Read(readOnly{files}, strings.TrimPrefix(c.Path, "/"))
	if err != nil {
		return "", gone(err)
	}
	if !thread.Same(t.Start, c.Start) {
		return "", fmt.Errorf("thread %s: %w: the number has been given anew", c.Path, fs.ErrNotExist)
	}
	return t.Allowed.String(), nil
}

// gone makes the error for a thread that ends during the read match that for a thread
// that does not exist.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// ready leaves out a thread that has ended or been moved meanwhile.
func (k Affinity) ready(files Files, c Change) (bool, error) {
	got, err := k.read(files, c)
	if err != nil {
		return false, notGone(err)
	}
	return k.same(got, c.From), nil
}

func (Affinity) apply(files Files, c Change) error {
	if c.From == c.To {
		return nil
	}
	return c.SetAffinity(files, c.To)
}

func (k Affinity) restore(files Files, c Change) error {
	got, err := k.read(files, c)
	if err != nil || k.same(got, c.From) {
		return notGone(err)
	}
	return c.SetAffinity(files, c.From)
}

// SetAffinity gives the thread of a change other CPUs. A thread that has ended is not an error.
func (c Change) SetAffinity(files Files, list string) error {
	cpus, err := cpulist.ParseSysfs(list)
	if err != nil {
		return err
	}
	err = gone(files.SetAffinity(c.Path, cpus))
	if errors.Is(err, unix.EINVAL) {
		return nil // the cpuset it is in now allows it none of these
	}
	return notGone(err)
}

// Kept returns the CPUs that a thread which is only noted keeps, none for other changes.
func (c Change) Kept(isolated cpulist.Set) cpulist.Set {
	if !c.IsOfThread() || c.From != c.To {
		return cpulist.Set{}
	}
	from, err := cpulist.ParseSysfs(c.From)
	if err != nil {
		return cpulist.Set{}
	}
	return from.Minus(isolated)
}

// GaveThread reports whether a thread has the affinity that the change, or the
// kernel because of the isolated CPUs, gave it. An affinity that somebody else gave it since is left alone.
// The kernel gives a thread all CPUs when a cpuset partition is undone.
func (c Change) GaveThread(got string, isolated, online cpulist.Set) bool {
	now, err := cpulist.ParseSysfs(got)
	if err != nil {
		return false
	}
	from, err := cpulist.ParseSysfs(c.From)
	if err != nil {
		return false
	}
	if c.From != c.To {
		return c.Holds(got)
	}
	return slices.Contains([]cpulist.Set{from, from.Minus(isolated), online.Minus(isolated), online}, now)
}

func (Affinity) describe(c Change) string {
	if c.From == c.To {
		return fmt.Sprintf("%s: CPU %s", c.Path, c.From)
	}
	return fmt.Sprintf("%s: CPU %s → CPU %s", c.Path, c.From, c.To)
}
