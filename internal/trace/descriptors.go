// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Descriptors that stay open beside the one of each map and link, and those that are open only while programs are loaded.
const (
	programDescriptors = 2 // its own, and that of its type information
	ringDescriptors    = 4 // the buffer, its reader's, and two to wait for it
	spareDescriptors   = 16
)

// CheckDescriptors returns an error if this process may not open as many files as an observation of n CPUs needs,
// which matches EMFILE. Loading programs would fail in some place or other, and guess at the reason.
func CheckDescriptors(n int) error {
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return fmt.Errorf("reading the kernel's type information: %w", err)
	}
	t := &Tracer{sources: Attachable(kernel)}
	spec, err := t.spec(Config{Isolation: true})
	if err != nil {
		return err
	}
	return checkDescriptors(spec, n)
}

func checkDescriptors(spec *ebpf.CollectionSpec, cpus int) error {
	needed := len(spec.Programs)*(programDescriptors+1) + len(spec.Maps) + (cpus+1)*ringDescriptors + faultDescriptors(spec, cpus)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit on open files: %w", err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil && !errors.Is(err, unix.EMFILE) {
		return fmt.Errorf("counting open files: %w", err)
	}
	needed += len(open) + spareDescriptors
	if err == nil && uint64(needed) <= limit.Cur {
		return nil
	}
	return fmt.Errorf("%w: taskiso needs %d descriptors, the limit is %d; raise it with ulimit -n %d", unix.EMFILE, needed, limit.Cur, needed)
}

// faultDescriptors counts those of the perf events of page faults: on each CPU that is watched, or without any on all. Their
// programs have no links, in whose place the first CPU is.
func faultDescriptors(spec *ebpf.CollectionSpec, cpus int) int {
	if cpus == 0 {
		cpus = int(spec.Maps["cpus"].MaxEntries)
	}
	n := 0
	for name := range faultEvents {
		if spec.Programs[name] != nil {
			n += max(0, cpus-1)
		}
	}
	return n
}
