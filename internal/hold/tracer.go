// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// tracer keeps one thread stopped as a debugger does. It does so on a thread of the
// operating system of its own, because to stop somebody may take for ever (seize), and
// nobody else is to wait for that. When that thread ends, the kernel lets go what it traced.
type tracer struct {
	thread traced
	now    func() time.Duration
	find   func(tracerState, tracerEvent) (transition[tracerState, tracerEvent, tracerAction], bool)

	released chan struct{} // closed when it is to go on
	state    tracerState
	signal   unix.Signal // that the thread is about to handle
	looked   time.Duration
	err      error
}

// traced is the thread of a tracer, which alone may call its methods.
type traced interface {
	seize() error
	look() (place, unix.Signal, error)
	listen() error
	wake() error
	drop() error
	detach(unix.Signal) error
	goOn(unix.Signal) error
	toCall(unix.Signal) error
	remake() error
	// passFilters lets its calls pass its seccomp filters, if it has any and the kernel can.
	passFilters() bool
	isAtItsCall() bool
	isFromHook(unix.Signal) bool
	doesNothing(unix.Signal) bool
	hasSignal() bool
}

// How often a tracer looks at a thread: one that it waits for, and one that is kept.
const (
	lookAtMoving  = time.Millisecond
	lookAtKept    = 20 * time.Millisecond
	lookAtSignals = 50 * time.Millisecond
)

// urgent is the nice value of threads that stop others: until they are stopped, they
// use the CPU.
const urgent = -20

func newTracer(thread traced) *tracer {
	return &tracer{thread: thread, now: clock.Now, find: tracerLines.find, released: make(chan struct{}), state: free}
}

// start traces on a thread of its own. It reports once, when the thread is not traced any
// more, or soon will not be.
func (t *tracer) start(report func(how tracerState, err error)) {
	go onOwnThread(func() {
		priority := unix.Setpriority(unix.PRIO_PROCESS, 0, urgent)
		t.seize()
		for t.look(); !t.state.isGone(); t.look() {
			t.wait()
		}
		if t.state == refused { // its error is the reason
			report(t.state, t.err)
			return
		}
		report(t.state, errors.Join(priority, t.err))
	})
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

// on does what the table has for an event. One that has no line is a fault of the table, and the thread may be stopped
// by now: the tracer ends, with which the thread goes on.
func (t *tracer) on(e tracerEvent) {
	line, listed := t.find(t.state, e)
	if !listed {
		t.state, t.err = left, fmt.Errorf("tracing a thread: in state %q there is nothing to do about %q", t.state, e)
		return
	}
	t.state = line.to
	for _, a := range line.do {
		if err := t.act(a); err != nil {
			t.fail(err)
			return
		}
	}
}

func (t *tracer) fail(err error) {
	t.err = err
	t.on(sawError)
}

func (t *tracer) act(a tracerAction) error {
	switch a {
	case actRemake:
		if err := t.thread.remake(); err != nil && !isGone(err) {
			return err
		}
	case actListen:
		return t.thread.listen()
	case actWake:
		return t.thread.wake()
	case actDrop:
		return t.thread.drop()
	case actGoOn:
		return t.thread.goOn(t.signal)
	case actDetach:
		return t.thread.detach(t.signal)
	case actPass:
		return t.pass()
	case actToCall:
		return t.thread.toCall(t.signal)
	}
	return nil
}

// pass lets the thread make its call again. A program that watches its calls by a seccomp
// filter has seen that call, and let it pass: it does not see the call again. The thread is
// then traced to the end of the call.
func (t *tracer) pass() error {
	if !t.thread.passFilters() {
		t.on(sawNoFilter)
		return nil
	}
	return t.thread.toCall(t.signal)
}

func (t *tracer) seize() {
	err := t.thread.seize()
	t.looked = t.now()
	switch {
	case err == nil:
		t.on(sawSeized)
	case isGone(err):
		t.on(sawNoThread)
	default:
		t.err = err
		t.on(sawRefusal)
	}
}

// look does what is to be done where the thread is now, and what was ordered.
func (t *tracer) look() {
	if t.state.isGone() {
		return
	}
	at, signal, err := t.thread.look()
	if err != nil {
		t.fail(err)
		return
	}
	t.signal = signal
	if e := t.seen(at); e != "" {
		t.on(e)
	}
	switch {
	case t.state.isGone():
	case t.isReleased():
		t.on(sawOrder)
	case t.state == stopped && t.now()-t.looked > lookAtSignals:
		t.looked = t.now()
		if t.thread.hasSignal() {
			t.on(sawPending)
		}
	}
}

// seen names what a thread was found to do; nothing if it does what it did.
func (t *tracer) seen(at place) tracerEvent {
	switch at {
	case atEnd:
		return sawEnd
	case atCall:
		if t.state == calling && t.thread.isAtItsCall() {
			return sawCall
		}
		return sawOtherCall
	case atSignal:
		if t.state == seized && t.thread.isFromHook(t.signal) {
			return sawHookSignal
		}
		if (t.state == seized || t.state == calling) && t.thread.doesNothing(t.signal) {
			return sawNothing
		}
		return sawSignal
	case atStop:
		if t.isReleased() {
			return sawStopToGo
		}
		return sawStop
	}
	return ""
}

func (t *tracer) wait() {
	interval := lookAtMoving
	switch {
	case t.state != seized && t.state != stopped, t.isReleased():
		time.Sleep(interval)
		return
	case t.state == stopped:
		interval = lookAtKept
	}
	select {
	case <-t.released:
	case <-time.After(interval):
	}
}
