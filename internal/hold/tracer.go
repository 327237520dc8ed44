// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// tracer keeps one thread stopped as a debugger does. It does so on a thread of the
// operating system of its own, because to stop somebody may take for ever (seize), and
// nobody else is to wait for that. When that thread ends, the kernel lets go what it traced.
type tracer struct {
	event event
	files fs.FS
	// report is called once, when the thread is not traced any more, or soon will not be.
	report func(parting, error)

	released chan struct{} // closed when it is to go on
	kept     atomic.Bool
	rousing  bool
}

// parting is how a tracer and its thread parted.
type parting int

const (
	freed   parting = iota // as was ordered
	left                   // to handle a signal; it may come back
	died                   // it ended
	refused                // it cannot be traced
)

// How often a tracer looks at a thread: one that it waits for, and one that is kept.
const (
	lookAtMoving  = time.Millisecond
	lookAtKept    = 20 * time.Millisecond
	lookAtSignals = 50 * time.Millisecond
)

// urgent is the nice value of threads that stop others: until they are stopped, they
// use the CPU.
const urgent = -20

func startTracer(e event, files fs.FS, report func(parting, error)) *tracer {
	t := &tracer{event: e, files: files, report: report, released: make(chan struct{})}
	go onOwnThread(func() { t.report(t.trace()) })
	return t
}

// onOwnThread calls f on a thread of the operating system that ends with it. The first
// thread of the process is none: the runtime never ends that (mexit() of runtime/proc.go).
func onOwnThread(f func()) {
	runtime.LockOSThread() // not unlocked: the thread ends with this goroutine
	if unix.Gettid() != os.Getpid() {
		f()
		return
	}
	began := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(began)
		f()
	}()
	<-began // on another thread, as this one is taken
	runtime.UnlockOSThread()
}

// release lets the thread go on to what it has an answer for.
func (t *tracer) release() {
	if !t.isReleased() {
		close(t.released)
	}
}

func (t *tracer) isReleased() bool {
	select {
	case <-t.released:
		return true
	default:
		return false
	}
}

func (t *tracer) trace() (parting, error) {
	priority := unix.Setpriority(unix.PRIO_PROCESS, 0, urgent)
	if err := t.seize(); isGone(err) {
		return died, nil
	} else if err != nil {
		return refused, err
	}
	for looked := clock.Now(); ; {
		at, signal, err := look(t.event.TID)
		if err != nil {
			return left, err
		}
		if how, ends, err := t.met(at, signal); ends || err != nil {
			return how, errors.Join(priority, err)
		}
		switch {
		case t.rousing:
		case t.isReleased() && !t.kept.Load(): // it goes on, or is about to stop: the end of this thread lets it go
			return freed, priority
		case t.isReleased():
			err = t.rouse()
		case t.kept.Load() && clock.Now()-looked > lookAtSignals:
			looked = clock.Now()
			if hasSignal(t.files, t.event.PID, t.event.TID) {
				err = t.rouse()
			}
		}
		if err != nil {
			return left, err
		}
		t.wait()
	}
}

// takenOver bounds how long the tracer before this one may take to end.
const takenOver = 200 * time.Millisecond

// seize also waits for the end of another tracer of ours that had the thread.
func (t *tracer) seize() error {
	for deadline := clock.Now() + takenOver; ; time.Sleep(lookAtMoving) {
		err := seize(t.event.TID)
		if !errors.Is(err, unix.EPERM) || clock.Now() > deadline || !t.isOurs() {
			return err
		}
	}
}

// isOurs tells whether the thread is traced by this process, or by nobody any more.
func (t *tracer) isOurs() bool {
	tid := tracerOf(t.files, t.event.PID, t.event.TID)
	if tid == 0 {
		return true
	}
	_, err := fs.Stat(t.files, fmt.Sprintf("proc/%d/task/%d", os.Getpid(), tid))
	return err == nil
}

// met does what is to be done where the thread is now.
func (t *tracer) met(at place, signal unix.Signal) (how parting, ends bool, err error) {
	tid := t.event.TID
	switch at {
	case gone:
		return died, true, nil
	case atCall:
		return left, true, letGo(tid, 0)
	case signals:
		if !t.kept.Load() && isFromHook(t.files, t.event.PID, tid, signal) {
			return left, false, drop(tid)
		}
		return left, true, letGo(tid, signal)
	case stopped:
		return t.stopped()
	}
	return left, false, nil
}

func (t *tracer) stopped() (how parting, ends bool, err error) {
	switch {
	case t.isReleased():
		how, err = t.pass()
		return how, true, err
	case t.rousing: // for a signal
		return left, true, letGo(t.event.TID, 0)
	case !t.kept.Load(): // it may have waited for another thread's load, and is not to see that this ended
		if err := remake(t.event.TID, t.event.nr, t.event.args); err != nil && !isGone(err) {
			return left, true, err
		}
	}
	t.kept.Store(true)
	return left, false, listen(t.event.TID)
}

func (t *tracer) rouse() error {
	t.rousing = true
	return rouse(t.event.TID)
}

func (t *tracer) wait() {
	if t.rousing || t.isReleased() {
		time.Sleep(lookAtMoving)
		return
	}
	interval := lookAtMoving
	if t.kept.Load() {
		interval = lookAtKept
	}
	select {
	case <-t.released:
	case <-time.After(interval):
	}
}

// pass lets the thread make its call again. What watches its calls by a seccomp filter
// has seen that one, and let it pass: it is not shown it again. The thread is traced to
// the end of the call then.
func (t *tracer) pass() (parting, error) {
	tid := t.event.TID
	if !hasFilter(t.files, t.event.PID, tid) || passFilters(tid) != nil {
		return freed, letGo(tid, 0)
	}
	if err := toCall(tid); err != nil {
		return freed, err
	}
	began := false
	for ; ; time.Sleep(lookAtMoving) {
		at, signal, err := look(tid)
		switch {
		case err != nil:
			return freed, err
		case at == runs:
		case at == gone:
			return died, nil
		case at == atCall && !began && isAt(tid, t.event.nr, t.event.args):
			began = true
			if err := toCall(tid); err != nil {
				return freed, err
			}
		default: // the call has ended, or it does something else first
			return freed, letGo(tid, signal)
		}
	}
}
