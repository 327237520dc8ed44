// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"net"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/topology"
)

// machine is what a command has to know of the CPUs.
type machine struct {
	possible, online, isolated, nohzFull cpulist.Set
}

func readMachine(files fs.FS) (machine, error) {
	var m machine
	var err error
	if m.possible, err = topology.Possible(files); err != nil {
		return m, err
	}
	if m.online, err = topology.Online(files); err != nil {
		return m, err
	}
	// Kernels without these features have no such file and no such CPUs.
	if m.isolated, err = topology.Isolated(files); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if m.nohzFull, err = topology.NohzFull(files); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	return m, nil
}

// choose returns the CPUs that text names, or by default the last online CPU
// that is isolated or nohz_full, or else the last online one.
func (m machine) choose(text string, given bool) (cpulist.Set, error) {
	if !given {
		return m.defaultCPU()
	}
	last, _ := m.possible.Last()
	cpus, err := cpulist.ParseMax(text, last)
	if errors.Is(err, cpulist.ErrRange) {
		return cpulist.Set{}, usageError("CPU %s: this machine has only CPU %v", text, m.possible)
	}
	if err != nil {
		return cpulist.Set{}, usageError("%w", err)
	}
	if unknown := cpus.Minus(m.possible); !unknown.IsEmpty() {
		return cpulist.Set{}, usageError("CPU %v: this machine has only CPU %v", unknown, m.possible)
	}
	if offline := cpus.Minus(m.online); !offline.IsEmpty() {
		return cpulist.Set{}, usageError("CPU %v is offline", offline)
	}
	return cpus, nil
}

func (m machine) defaultCPU() (cpulist.Set, error) {
	quiet := m.online.Intersect(m.isolated.Union(m.nohzFull))
	if quiet.IsEmpty() {
		quiet = m.online
	}
	last, _ := quiet.Last()
	return cpulist.New(last)
}

// housekeeping returns the CPUs left for everything else.
func (m machine) housekeeping(cpus cpulist.Set) (cpulist.Set, error) {
	rest := m.online.Minus(cpus)
	if rest.IsEmpty() {
		return rest, usageError("CPU %v are all this machine has: one must be left for taskiso and the rest of the system", cpus)
	}
	if quiet := rest.Minus(m.isolated).Minus(m.nohzFull); !quiet.IsEmpty() {
		return quiet, nil
	}
	return rest, nil
}

// keepOff moves this process off cpus, every thread of it and from its first
// instruction on: it sets the affinity of this thread and executes itself, so
// that all threads of Go's runtime inherit it. It returns when nothing was to do.
func keepOff(cpus, housekeeping cpulist.Set) error {
	allowed, err := affinity(0)
	if err != nil {
		return err
	}
	if allowed.Intersect(cpus).IsEmpty() {
		return nil
	}
	runtime.LockOSThread()
	if err := launch.SetAffinity(0, housekeeping); err != nil {
		return fmt.Errorf("moving taskiso itself off CPU %v: %w", cpus, err)
	}
	if allowed, err = affinity(0); err != nil {
		return err
	} else if !allowed.Intersect(cpus).IsEmpty() {
		return fmt.Errorf("moving taskiso itself off CPU %v: the kernel lets it run on %v", cpus, allowed)
	}
	self, err := os.Executable()
	if err == nil {
		err = syscall.Exec(self, os.Args, os.Environ())
	}
	return fmt.Errorf("executing taskiso again, off CPU %v: %w", cpus, err)
}

// affinity returns the CPUs on which the thread tid (0: this one) may run.
func affinity(tid int) (cpulist.Set, error) {
	set := unix.NewCPUSet(cpulist.MaxCPU)
	if err := unix.SchedGetaffinityDynamic(tid, set); err != nil {
		return cpulist.Set{}, fmt.Errorf("reading the affinity of thread %d: %w", tid, err)
	}
	var cpus []int
	for i, word := range set {
		for w := uint(word); w != 0; w &= w - 1 {
			cpus = append(cpus, i*bits.UintSize+bits.TrailingZeros(w))
		}
	}
	return cpulist.New(cpus...)
}

// errCPUInUse means that another run has the CPU.
var errCPUInUse = errors.New("another taskiso run is using it")

// claim reserves CPUs for this run until the returned function is called or
// the process ends, however it ends: each is a name in the abstract socket
// namespace, which leaves nothing behind.
func claim(cpus cpulist.Set) (release func(), err error) {
	var held []net.Listener
	release = func() {
		for _, l := range held {
			l.Close()
		}
	}
	for cpu := range cpus.All() {
		l, err := net.Listen("unix", fmt.Sprintf("@taskiso/cpu/%d", cpu))
		if errors.Is(err, unix.EADDRINUSE) {
			err = errCPUInUse
		}
		if err != nil {
			release()
			return nil, fmt.Errorf("reserving CPU %d: %w", cpu, err)
		}
		held = append(held, l)
	}
	return release, nil
}
