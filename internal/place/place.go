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
	room               room        // where the command or the busy loop runs
}

// Plan decides about CPUs.
func Plan(files fs.FS, r Request) (Target, error) {
	m, err := topology.ReadMachine(files)
	if err != nil {
		return Target{}, err
	}
	t := Target{Machine: m, Home: takeHome()}
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

// Claim reserves the CPUs until the returned function is called or the
// process ends. Where there is no place for that the command goes on without, and
// the limits name it; a lack of permission is printed as well.
func (t *Target) Claim(stderr io.Writer) (release func(), err error) {
	dir := claim.Dir()
	if dir == "" {
		t.Limits = append(t.Limits, fmt.Sprintf("CPU %v could not be reserved: XDG_RUNTIME_DIR is not set; another run of taskiso may have used it at the same time", t.CPUs))
		return func() {}, nil
	}
	release, err = claim.CPUs(dir, t.CPUs)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		limit := fmt.Sprintf("%v; another run of taskiso may have used it at the same time", err)
		t.Limits = append(t.Limits, limit)
		fmt.Fprintf(stderr, "taskiso: %s\n", limit)
		return func() {}, nil
	}
	return release, err
}
