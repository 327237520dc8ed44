// SPDX-License-Identifier: Apache-2.0

package place

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/task"
	"github.com/taskiso/taskiso/internal/topology"
)

// choose returns the CPUs that are asked for, or by default the last one that is
// isolated or nohz_full, or else the last one that runs.
func (r Request) choose(m topology.Machine) (cpulist.Set, error) {
	if r.Given {
		return Named(m, r.CPUs)
	}
	last, _ := m.SetApartOrAll().Last()
	return cpulist.New(last)
}

// Named returns the CPUs that the user named.
func Named(m topology.Machine, text string) (cpulist.Set, error) {
	cpus, err := m.Parse(text)
	if err != nil {
		return cpus, &task.RequestError{Err: err}
	}
	return cpus, nil
}

// Isolable returns on which of the CPUs a thread may be isolated: those that the user named, all if they will be set
// apart, and else those that are isolated or nohz_full.
func (t Target) Isolable(named string) (cpulist.Set, error) {
	switch {
	case named != "":
	case t.Apart:
		return t.CPUs, nil
	default:
		return t.CPUs.Intersect(t.Machine.SetApart()), nil
	}
	given, err := Named(t.Machine, named)
	if err != nil {
		return given, err
	}
	if other := given.Minus(t.CPUs); !other.IsEmpty() {
		return given, &task.RequestError{Err: fmt.Errorf("CPU %v is not observed: name it in --cpus as well", other)}
	}
	return given, nil
}

// StartOn returns the CPUs on which a command starts: those that the user named, and else the observed ones.
func (t Target) StartOn(named string) (cpulist.Set, error) {
	switch {
	case named == "":
		return t.CPUs, nil
	case t.Apart:
		return t.CPUs, &task.RequestError{Err: errors.New("--start-on and --partition exclude each other: the command is confined to the partition")}
	}
	return Named(t.Machine, named)
}

// housekeeping returns the CPUs left for everything else.
func housekeeping(m topology.Machine, cpus cpulist.Set) (cpulist.Set, error) {
	rest, err := m.Beside(cpus)
	if err != nil {
		return rest, &task.RequestError{Err: err}
	}
	return m.Housekeeping(rest), nil
}

// KeepOff moves this process off cpus, every thread of it and from its first
// instruction on: it sets the affinity of this thread and executes itself, so
// that all threads of Go's runtime inherit it. It returns when nothing was to do.
func KeepOff(cpus, housekeeping cpulist.Set) error {
	allowed, err := affinity.Of(0)
	if err != nil {
		return err
	}
	if allowed.Intersect(cpus).IsEmpty() {
		return nil
	}
	runtime.LockOSThread()
	err = affinity.Set(0, housekeeping)
	environment := os.Environ()
	if errors.Is(err, unix.EINVAL) { // as in the cgroup of a partition that has the CPUs
		var home string
		if home, err = leavePartition(cpus, housekeeping); err == nil {
			environment = append(environment, homeVariable+"="+home)
			err = affinity.Set(0, housekeeping)
		}
	}
	if err != nil {
		return fmt.Errorf("moving taskiso itself off CPU %v: %w", cpus, err)
	}
	if allowed, err = affinity.Of(0); err != nil {
		return err
	} else if !allowed.Intersect(cpus).IsEmpty() {
		return fmt.Errorf("moving taskiso itself off CPU %v: the kernel lets it run on %v", cpus, allowed)
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, os.Args, environment)
	}
	return fmt.Errorf("executing taskiso again, off CPU %v: %w", cpus, err)
}
