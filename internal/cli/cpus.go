// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/claim"
	"github.com/taskiso/taskiso/internal/topology"
)

// chooseCPUs returns the CPUs that text names, or by default the last one that is
// isolated or nohz_full, or else the last one that runs.
func chooseCPUs(m topology.Machine, text string, given bool) (cpulist.Set, error) {
	if given {
		return named(m, text)
	}
	last, _ := m.SetApartOrAll().Last()
	return cpulist.New(last)
}

// named returns the CPUs that the user named.
func named(m topology.Machine, text string) (cpulist.Set, error) {
	cpus, err := m.Parse(text)
	if err != nil {
		return cpus, usageError("%w", err)
	}
	return cpus, nil
}

// housekeeping returns the CPUs left for everything else.
func housekeeping(m topology.Machine, cpus cpulist.Set) (cpulist.Set, error) {
	rest, err := m.Beside(cpus)
	if err != nil {
		return rest, usageError("%w", err)
	}
	return m.Housekeeping(rest), nil
}

// keepOff moves this process off cpus, every thread of it and from its first
// instruction on: it sets the affinity of this thread and executes itself, so
// that all threads of Go's runtime inherit it. It returns when nothing was to do.
func keepOff(cpus, housekeeping cpulist.Set) error {
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

// claim reserves the CPUs of t until the returned function is called or the
// process ends. Where there is no place for that the command goes on without, and
// the report says so.
func (p *program) claim(t *target, quiet bool) (release func(), err error) {
	dir := claim.Dir()
	if dir == "" {
		t.limits = append(t.limits, fmt.Sprintf("CPU %v could not be reserved: XDG_RUNTIME_DIR is not set; another run of taskiso may have used it at the same time", t.cpus))
		return func() {}, nil
	}
	release, err = claim.CPUs(dir, t.cpus)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		limit := fmt.Sprintf("%v; another run of taskiso may have used it at the same time", err)
		t.limits = append(t.limits, limit)
		if !quiet {
			fmt.Fprintf(p.stderr, "taskiso: %s\n", limit)
		}
		return func() {}, nil
	}
	return release, err
}
