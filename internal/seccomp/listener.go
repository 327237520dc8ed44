// SPDX-License-Identifier: Apache-2.0

package seccomp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// Call is one call of prctl that waits for an answer.
type Call struct {
	TID    uint32
	Option int
	Args   [4]uint64 // the second argument of prctl to the fifth
	// At is a time of CLOCK_MONOTONIC at which its caller was in the call: a thread with
	// the same number that ended before that was another one.
	At time.Duration

	id uint64
}

// ErrGone means that the caller does not wait for its answer any more: a signal
// interrupted the call, or the thread has ended.
var ErrGone = errors.New("the caller does not wait any more")

// Listener receives calls. Its methods are safe for concurrent use, but only one
// goroutine may call Next.
type Listener struct {
	fd    int
	stop  [2]int // a pipe; closing its writing end ends Next
	close func() error
}

// Listen takes over a descriptor that [Install] returned in another process.
func Listen(fd int) (*Listener, error) {
	l := &Listener{fd: fd}
	if err := unix.Pipe2(l.stop[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("creating a pipe: %w", err)
	}
	l.close = sync.OnceValue(func() error { return errors.Join(unix.Close(l.fd), unix.Close(l.stop[0])) })
	return l, nil
}

// Stop makes Next return, now and later.
func (l *Listener) Stop() { unix.Close(l.stop[1]) }

// Close gives up the descriptors, after Next has returned. Calls that wait, and
// those to come, fail with ENOSYS. It may be called again, and returns the same then.
func (l *Listener) Close() error { return l.close() }

// Next waits for a call. After Stop, or when nobody is left who could call, it
// returns [os.ErrClosed].
func (l *Listener) Next() (Call, error) {
	for {
		// Not in the ioctl itself, which nothing but a signal would end.
		fds := []unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(l.stop[0]), Events: unix.POLLIN}}
		if _, err := unix.Poll(fds, -1); errors.Is(err, unix.EINTR) {
			continue
		} else if err != nil {
			return Call{}, fmt.Errorf("waiting for calls of prctl: %w", err)
		}
		switch found(fds[0].Revents, fds[1].Revents) {
		case over:
			return Call{}, os.ErrClosed
		case call:
			c, err := l.receive()
			if errors.Is(err, ErrGone) {
				continue
			}
			return c, err
		}
	}
}

// finding is what a wait for calls came to.
type finding int

const (
	nothing finding = iota
	call
	over // stopped, or nobody is left who could call
)

// found judges what poll(2) returned for the listener and for the pipe that stops it. POLLERR of a listener is not an end: the kernel
// returns it if a signal, such as those of Go's runtime, comes while it waits for the filter's lock (seccomp_notify_poll() of Linux
// 5.9 to 7.2). To take it for one left every later call of the task without an answer for ever.
func found(listener, stop int16) finding {
	switch {
	case stop != 0:
		return over
	case listener&unix.POLLIN != 0:
		return call
	case listener&(unix.POLLHUP|unix.POLLNVAL) != 0:
		return over
	}
	return nothing
}

// Structures of include/uapi/linux/seccomp.h.
type (
	notification struct {
		id    uint64
		pid   uint32
		flags uint32
		data  struct {
			nr, arch uint32
			ip       uint64
			args     [6]uint64
		}
	}
	response struct {
		id    uint64
		val   int64
		error int32
		flags uint32
	}
	addFD struct {
		id                              uint64
		flags, srcFD, newFD, newFDFlags uint32
	}
)

func (l *Listener) receive() (Call, error) {
	var n notification
	if err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); err != nil {
		return Call{}, fmt.Errorf("receiving a call of prctl: %w", err)
	}
	c := Call{TID: n.pid, Option: int(int32(n.data.args[0])), id: n.id}
	copy(c.Args[:], n.data.args[1:])
	c.At = clock.Now()
	if !l.Waits(c) {
		return Call{}, ErrGone
	}
	return c, nil
}

// Answer ends a call: it returns value, or fails with errno if that is not 0. The
// error is [ErrGone] if the caller does not wait any more.
func (l *Listener) Answer(c Call, value int64, errno unix.Errno) error {
	r := response{id: c.id, val: value, error: -int32(errno)}
	if err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&r)); err != nil {
		return fmt.Errorf("answering prctl of thread %d: %w", c.TID, err)
	}
	return nil
}

// AnswerFile ends a call: it returns a new descriptor of the caller, closed on
// exec, for the file behind fd.
func (l *Listener) AnswerFile(c Call, fd int) error {
	// A signal, as Go's runtime sends them to its own threads, ends the wait for the
	// caller to take the file, and leaves the call answered without one: it returns 0
	// then, and to ask again fails with EINPROGRESS (seccomp_notify_addfd() of Linux
	// 6.1 to 7.2).
	restore, err := blockSignals()
	if err != nil {
		return fmt.Errorf("passing a file to thread %d: %w", c.TID, err)
	}
	defer restore()
	a := addFD{id: c.id, flags: unix.SECCOMP_ADDFD_FLAG_SEND, srcFD: uint32(fd), newFDFlags: unix.O_CLOEXEC}
	if err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_ADDFD, unsafe.Pointer(&a)); err != nil {
		return fmt.Errorf("passing a file to thread %d: %w", c.TID, err)
	}
	return nil
}

// Waits reports whether the caller still waits for its answer.
func (l *Listener) Waits(c Call) bool {
	return l.ioctl(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&c.id)) == nil
}

// blockSignals keeps the goroutine on a thread that no signal interrupts.
func blockSignals() (restore func(), err error) {
	runtime.LockOSThread()
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &before); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("blocking signals: %w", err)
	}
	return func() {
		_ = unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) // cannot fail: both are ours, and it has worked before
		runtime.UnlockOSThread()
	}, nil
}

func (l *Listener) ioctl(request uintptr, arg unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l.fd), request, uintptr(arg))
		runtime.KeepAlive(arg)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
		case unix.ENOENT, unix.ESRCH: // before, or while it was to take a file
			return ErrGone
		default:
			return errno
		}
	}
}
