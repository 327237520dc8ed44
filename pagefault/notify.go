// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NotifyOptions select the faults that send a signal.
type NotifyOptions struct {
	MajorOnly  bool
	KernelMode bool // also faults taken in system calls
	Every      bool // a signal for each fault, instead of one for each ExpectNone
}

// Notifier sends a signal to one thread when it faults. Its methods are for one
// goroutine at a time.
type Notifier struct {
	event event
	every bool
	armed bool   // the kernel still has one signal to send
	since uint64 // what the event had counted when it was armed
}

// NotifyOn arranges that thread tid gets signal sig with a page fault. 0 is the
// calling thread, which must be locked to its goroutine ([runtime.LockOSThread]).
// Nothing happens before [Notifier.ExpectNone].
//
// The kernel sends the signal when the fault begins, so that the thread gets it when
// it returns to user mode, before its next instruction. If the kernel has to wait
// for the page, that can be before the page is there; the access is then repeated.
// Faults that end in SIGSEGV are signalled as well. The signal shows that there was a fault, not where; a real-time
// signal also has the descriptor in si_fd. A [Watcher] beside it knows the address. A
// standard signal that is pending already is not sent a second time.
//
// In a Go program the runtime's handler runs in the thread and passes the signal to
// the channel of [os/signal.Notify]: the goroutine learns of it with a delay, and
// gets one signal for several that came meanwhile. A program that is not prepared for sig is
// ended by it, as by any signal.
//
// This works on all kernels with perf events. Signals that carry the address, and
// C handlers at the very instruction, need attr.sigtrap (Linux 5.13); they are in
// taskiso/pagefault.h. A Go program cannot use them: its runtime ends the program
// with any SIGTRAP that no process has sent (flag _SigThrow of SIGTRAP in
// runtime/sigtab_linux_generic.go), unless C code in it has put a handler in front.
func NotifyOn(tid int, sig unix.Signal, o NotifyOptions) (*Notifier, error) {
	tid = Thread(tid).resolve().id
	k := entry
	if o.MajorOnly {
		k = major
	}
	attr := baseAttr(k, o.KernelMode)
	attr.Sample = 1
	attr.Wakeup = 1
	fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, explainOpen(err, tid, o.KernelMode)
	}
	n := &Notifier{event: event{fd, k}, every: o.Every}
	if err := signalThread(fd, tid, sig); err != nil {
		return nil, errors.Join(fmt.Errorf("sending signal %d to thread %d: %w", sig, tid, err), n.Close())
	}
	return n, nil
}

// ownerTID is F_OWNER_TID (include/uapi/asm-generic/fcntl.h).
const ownerTID = 0

// signalThread lets the kernel send sig to a thread for each event of fd (fcntl(2),
// "Managing signals").
func signalThread(fd, tid int, sig unix.Signal) error {
	owner := struct{ kind, id int32 }{ownerTID, int32(tid)}
	if _, _, errno := unix.Syscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETOWN_EX, uintptr(unsafe.Pointer(&owner))); errno != 0 {
		return os.NewSyscallError("fcntl F_SETOWN_EX", errno)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETSIG, int(sig)); err != nil {
		return os.NewSyscallError("fcntl F_SETSIG", err)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags|unix.O_ASYNC)
	}
	return os.NewSyscallError("fcntl F_SETFL", err)
}

// ExpectNone declares that the thread expects no faults from now on: the next one is
// signalled. After it nothing is, until ExpectNone is called again, unless
// [NotifyOptions].Every was set.
func (n *Notifier) ExpectNone() error {
	if n.every {
		return n.event.ioctl(unix.PERF_EVENT_IOC_ENABLE, 0)
	}
	count, err := n.event.count()
	if err != nil {
		return err
	}
	if n.armed && count == n.since {
		return n.event.ioctl(unix.PERF_EVENT_IOC_ENABLE, 0)
	}
	n.armed, n.since = true, count
	// The kernel adds this to the number of events after which it switches the event off.
	return n.event.ioctl(unix.PERF_EVENT_IOC_REFRESH, 1)
}

// ExpectSome declares that faults are all right again: none is signalled.
func (n *Notifier) ExpectSome() error { return n.event.ioctl(unix.PERF_EVENT_IOC_DISABLE, 0) }

// Close ends the notification.
func (n *Notifier) Close() error { return unix.Close(n.event.fd) }
