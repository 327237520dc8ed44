// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kind is which of the kernel's page-fault events it is.
type kind uint8

const (
	minor kind = iota // a fault was resolved without waiting
	major             // a fault was resolved
	entry             // the fault handler begins; it may fail
	kinds             // how many there are
)

// config returns the number of the software event in perf_event_open(2).
func (k kind) config() uint64 {
	return [kinds]uint64{
		minor: unix.PERF_COUNT_SW_PAGE_FAULTS_MIN,
		major: unix.PERF_COUNT_SW_PAGE_FAULTS_MAJ,
		entry: unix.PERF_COUNT_SW_PAGE_FAULTS,
	}[k]
}

// Bits of perf_event_attr that x/sys has no names for (include/uapi/linux/perf_event.h).
const (
	bitInheritThread = 1 << 35
	bitRemoveOnExec  = 1 << 36
	bitSigtrap       = 1 << 37
)

// event is an open event of one thread, or of one thread and its descendants, on
// one CPU or on all (-1).
type event struct {
	fd   int
	kind kind
}

// opener opens events. Tests put another one in the place of the kernel's.
type opener func(attr *unix.PerfEventAttr, tid, cpu, groupFD, flags int) (int, error)

func (e event) ioctl(request uint, arg int) error {
	if err := unix.IoctlSetInt(e.fd, request, arg); err != nil {
		return fmt.Errorf("setting a page-fault event: %w", err)
	}
	return nil
}

// enableGroup switches e and the events of its group on.
func (e event) enableGroup() error {
	return e.ioctl(unix.PERF_EVENT_IOC_ENABLE, unix.PERF_IOC_FLAG_GROUP)
}

// disableGroup switches e and the events of its group off.
func (e event) disableGroup() error {
	return e.ioctl(unix.PERF_EVENT_IOC_DISABLE, unix.PERF_IOC_FLAG_GROUP)
}

// id returns the number with which samples name e and the events that inherited from it.
func (e event) id() (uint64, error) {
	var id uint64
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(e.fd), unix.PERF_EVENT_IOC_ID, uintptr(unsafe.Pointer(&id)))
	if errno != 0 {
		return 0, fmt.Errorf("reading the number of a page-fault event: %w", errno)
	}
	return id, nil
}

// count returns how often e has occurred.
func (e event) count() (uint64, error) {
	var value uint64
	n, err := unix.Read(e.fd, (*[8]byte)(unsafe.Pointer(&value))[:])
	if err == nil && n != 8 {
		err = unix.EIO
	}
	if err != nil {
		return 0, fmt.Errorf("reading a page-fault counter: %w", err)
	}
	return value, nil
}

// baseAttr is what all uses of an event have in common.
func baseAttr(k kind, kernelMode bool) unix.PerfEventAttr {
	a := unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Config: k.config(),
		Bits:   unix.PerfBitDisabled | unix.PerfBitExcludeHv,
	}
	if !kernelMode {
		a.Bits |= unix.PerfBitExcludeKernel
	}
	return a
}
