// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// The programs on perf's events of page faults that were resolved, bpf/entry.h.
const (
	minorFaults = "page_fault_minor"
	majorFaults = "page_fault_major"
)

// faultEvents are the events by the program that is attached to them.
var faultEvents = map[string]uint64{
	minorFaults: unix.PERF_COUNT_SW_PAGE_FAULTS_MIN,
	majorFaults: unix.PERF_COUNT_SW_PAGE_FAULTS_MAJ,
}

// faultsAreSources reports whether page faults show only when they are resolved.
func (t *Tracer) faultsAreSources() bool {
	for _, s := range t.sources {
		if s.source.system == perfEvents {
			return true
		}
	}
	return false
}

// watchIsolationFaults lets the task side see resolved page faults, also where they are no sources.
func (t *Tracer) watchIsolationFaults() error {
	if t.faultsAreSources() {
		for _, s := range t.sources {
			if s.source.system == perfEvents && s.Err != nil {
				return s.Err
			}
		}
	} else if !t.cpus.IsEmpty() {
		for name := range faultEvents {
			if err := t.watchFaults(name); err != nil {
				return err
			}
		}
	}
	if len(t.faults) == 0 {
		return nil
	}
	return t.coll.Variables["fault_events"].Set(uint32(1))
}

// watchFaults attaches a program to the faults of the CPUs that can be watched. None can happen on a CPU that is offline; one
// that comes online later shows none.
func (t *Tracer) watchFaults(program string) error {
	for _, cpu := range t.watchable {
		err := t.watchFault(int(cpu), faultEvents[program], t.coll.Programs[program])
		if err != nil && !errors.Is(err, unix.ENODEV) {
			return err
		}
	}
	return nil
}

func (t *Tracer) watchFault(cpu int, which uint64, program *ebpf.Program) error {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: which, Sample: 1, Bits: unix.PerfBitDisabled | unix.PerfBitExcludeKernel}
	attr.Size = uint32(unsafe.Sizeof(attr))
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("counting resolved page faults on CPU %d: %w", cpu, err)
	}
	t.faults = append(t.faults, fd)
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, program.FD()); err != nil {
		return fmt.Errorf("attaching to resolved page faults on CPU %d: %w", cpu, err)
	}
	if err := unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0); err != nil {
		return fmt.Errorf("counting resolved page faults on CPU %d: %w", cpu, err)
	}
	return nil
}

// closeFaults detaches from them, which interrupts their CPUs.
func (t *Tracer) closeFaults() {
	for _, fd := range t.faults {
		unix.Close(fd)
	}
}
