// SPDX-License-Identifier: Apache-2.0

// Package place is where a command works: the CPUs that it observes, with taskiso off them and nobody else's claim on
// them, and a cgroup whose tasks may run there.
package place

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/claim"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/task"
	"github.com/taskiso/taskiso/internal/topology"
)

// Request names CPUs.
type Request struct {
	CPUs         string
	Given        bool   // else a CPU is chosen
	Housekeeping string // "" for all others
}

// Target is where to observe.
type Target struct {
	Machine            topology.Machine
	CPUs, Housekeeping cpulist.Set
	Beside             cpulist.Set // not observed, and a command starts there on purpose
	Limits             []string    // what cannot be relied on, for the report
	Home               string      // cgroup in which taskiso was started, if it left that
	Apart              bool        // the CPUs will be set apart, and the command runs in the cgroup of that partition
	room               room        // where the command or the busy loop runs
	locks              string      // directory of claims, "" if there is none
	marks              string      // how names of claims begin that other containers see, "" for no such claims
}

// Plan decides about CPUs.
func Plan(files fs.FS, r Request) (Target, error) {
	m, err := topology.ReadMachine(files)
	if err != nil {
		return Target{}, err
	}
	t := Target{Machine: m, Home: takeHome(), locks: claim.Dir(), marks: claim.Marks}
	if t.CPUs, err = r.choose(m); err != nil {
		return Target{}, err
	}
	if t.Housekeeping, err = housekeeping(m, t.CPUs); err != nil {
		return Target{}, err
	}
	if r.Housekeeping != "" {
		if t.Housekeeping, err = Named(m, r.Housekeeping); err != nil {
			return Target{}, err
		}
		if both := t.Housekeeping.Intersect(t.CPUs); !both.IsEmpty() {
			return Target{}, &task.RequestError{Err: fmt.Errorf("CPU %v cannot be observed and be used for housekeeping", both)}
		}
	}
	return t, nil
}

// Occupy takes the CPUs for a command, or for the busy loop if there is none, until the returned function is called or the
// process ends.
func (t *Target) Occupy(files fs.FS, command *launch.Command, warnings io.Writer) (release func(), err error) {
	if err := t.Arrange(files, command); err != nil {
		return nil, err
	}
	return t.Claim(files, warnings)
}

// Arrange moves taskiso off the CPUs, and chooses the cgroup in which the command, or the busy loop, runs. It may execute
// taskiso again, so it comes before anything that has an effect outside of this process.
func (t *Target) Arrange(files fs.FS, command *launch.Command) error {
	if err := KeepOff(t.CPUs, t.Housekeeping); err != nil {
		return err
	}
	if command != nil && t.Apart {
		return nil
	}
	return t.giveRoom(files, command)
}

// Claim reserves the CPUs until the returned function is called or the process ends. Without a place for claims the command
// runs all the same, and the limits name that; a lack of permission for locks is printed as well.
func (t *Target) Claim(files fs.FS, warnings io.Writer) (release func(), err error) {
	unmark, err := t.mark(files) // first: it finds out which process here has a CPU, whatever that calls itself
	if err != nil {
		return nil, err
	}
	unlock, err := t.lock(warnings)
	if err != nil {
		unmark()
		return nil, err
	}
	return func() {
		unlock()
		unmark()
	}, nil
}

func (t *Target) mark(files fs.FS) (release func(), err error) {
	if t.marks == "" {
		return func() {}, nil
	}
	release, err = claim.Everywhere(files, t.marks, t.CPUs)
	if err != nil && !errors.Is(err, claim.ErrInUse) {
		t.Limits = append(t.Limits, fmt.Sprintf("CPU %v could not be reserved for all containers and users of this machine (%v): another run of taskiso may have used it at the same time", t.CPUs, err))
		err = nil
	}
	return release, err
}

func (t *Target) lock(warnings io.Writer) (release func(), err error) {
	if t.locks == "" {
		t.Limits = append(t.Limits, fmt.Sprintf("CPU %v could not be reserved: XDG_RUNTIME_DIR is not set; another run of taskiso may have used it at the same time", t.CPUs))
		return func() {}, nil
	}
	release, err = claim.CPUs(t.locks, t.CPUs)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		limit := fmt.Sprintf("%v; another run of taskiso may have used it at the same time", err)
		t.Limits = append(t.Limits, limit)
		fmt.Fprintf(warnings, "taskiso: %s\n", limit)
		return func() {}, nil
	}
	return release, err
}
