// SPDX-License-Identifier: Apache-2.0

// Package affinity asks and sets on which CPUs a thread may run, on machines of any
// size: unix.CPUSet has 1,024 CPUs, and the kernel refuses to answer into less than
// it has itself.
package affinity

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
)

// Of returns the CPUs on which the thread tid (0: the calling one) may run.
func Of(tid int) (cpulist.Set, error) {
	mask := unix.NewCPUSet(cpulist.MaxCPU + 1)
	if err := unix.SchedGetaffinityDynamic(tid, mask); err != nil {
		return cpulist.Set{}, fmt.Errorf("reading the affinity of thread %d: %w", tid, err)
	}
	words := make([]uint64, len(mask))
	for i, word := range mask {
		words[i] = uint64(word)
	}
	return cpulist.FromWords(words)
}

// Set lets the thread tid (0: the calling one) run on cpus only.
func Set(tid int, cpus cpulist.Set) error {
	if err := set(tid, cpus); err != nil {
		return fmt.Errorf("setting the affinity of thread %d to CPU %v: %w", tid, cpus, err)
	}
	return nil
}

// Pin lets the calling thread run on one CPU only. As long as the goroutine is not
// locked to the thread ([runtime.LockOSThread]) it may go on in another one.
func Pin(cpu int) error {
	only, err := cpulist.New(cpu)
	if err != nil { // the kernel's answer for a CPU that it does not have
		err = unix.EINVAL
	} else {
		err = set(0, only)
	}
	if err != nil {
		return fmt.Errorf("moving to CPU %d: %w", cpu, err)
	}
	return nil
}

func set(tid int, cpus cpulist.Set) error {
	last, ok := cpus.Last()
	if !ok {
		return unix.EINVAL
	}
	mask := unix.NewCPUSet(last + 1)
	for cpu := range cpus.All() {
		mask.Set(cpu)
	}
	return unix.SchedSetaffinityDynamic(tid, mask)
}
