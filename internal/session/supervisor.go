// SPDX-License-Identifier: Apache-2.0

package session

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/trace"
)

const maxSignal = 64 // _NSIG

// quietFor is how long nothing may have disturbed a CPU before it counts as
// quiet: longer than the period of the slowest tick, the one of HZ=100.
const quietFor = 12 * time.Millisecond

// look is the time between two looks at a CPU that is not quiet yet.
const look = 500 * time.Microsecond

// soon is how long the return of a call is waited for without sleeping: its
// caller's next call waits as well.
const soon = 100 * time.Microsecond

// returnTimeout is how long a thread may take from the answer to the return of
// its call before its CPU is free for the next one.
const returnTimeout = 10 * time.Second

// DefaultSettle is how long a call waits at most for its CPU to become quiet.
const DefaultSettle = time.Second

// Watch is what the supervisor needs of a [trace.Isolation].
type Watch interface {
	Assign(tid uint32, slot int) error
	Release(tid uint32) error
	Grant(cpu int, tid uint32)
	Answer(cpu int, tid uint32)
	Withdraw(cpu int)
	Answered(cpu int) uint32
	Occupant(cpu int) (slot int, ok bool)
	Idle(cpu int) bool
	Disturbed(cpu int) (time.Duration, taskiso.Cause)
	Ahead(slot int) time.Duration
	Pages() int
}

// Config is which calls are answered, where threads may be isolated, and what is done for them.
type Config struct {
	Isolation Watch
	CPUs      cpulist.Set // on which a thread may be isolated
	Settle    time.Duration
	// Affinity returns the CPUs a thread may run on.
	Affinity func(tid int) (cpulist.Set, error)
	Gate     Gate // nil: nothing is held
}

// Gate holds operations while a thread is isolated. Its methods are called
// concurrently.
type Gate interface {
	// Enter closes it before a thread may be isolated. The returned function is called
	// when the thread is isolated, or when it is clear that it will not be.
	Enter() (done func(), err error)
	// Window opens it for the thread with a slot, which is in its call, and returns
	// when the operations that waited have been done.
	Window(slot int) error
}

// calls is what the supervisor needs of a [seccomp.Listener].
type calls interface {
	Next() (seccomp.Call, error)
	Answer(c seccomp.Call, value int64, errno unix.Errno) error
	AnswerFile(c seccomp.Call, fd int) error
	Waits(c seccomp.Call) bool
}

// Supervisor answers calls. Its methods are safe for concurrent use.
type Supervisor struct {
	cfg     Config
	calls   calls
	stories *stories
	asks    *asks
	started time.Duration

	cancelled chan struct{} // closed by Cancel
	cancel    func()

	mu       sync.Mutex
	accounts accounts
	slots    [trace.StatusSlots]slot
	cpus     map[int]*sync.Mutex // held from an answer to the return of its call
	err      error               // the first that Serve met
}

// slot is a status page: whose it is, 0 for nobody's, when that thread called last, and the
// flags of its last successful call.
type slot struct {
	tid        uint32
	called     time.Duration
	flags      uint64
	flagsSince time.Duration
}

// New returns a supervisor for the calls that arrive at a listener.
func New(cfg Config, from calls) (*Supervisor, error) {
	stories, err := newStories()
	if err != nil {
		return nil, err
	}
	asks, err := newAsks()
	if err != nil {
		return nil, errors.Join(err, stories.close())
	}
	s := &Supervisor{
		cfg: cfg, calls: from, stories: stories, asks: asks, started: clock.Now(),
		cancelled: make(chan struct{}), cpus: make(map[int]*sync.Mutex),
	}
	s.cancel = sync.OnceFunc(func() { close(s.cancelled) })
	for cpu := range cfg.CPUs.All() {
		s.cpus[cpu] = new(sync.Mutex)
	}
	return s, nil
}

// Serve answers calls until the listener is stopped or nobody is left to call.
// It returns when every call is answered.
func (s *Supervisor) Serve() error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := s.calls.Next()
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		open.Go(func() { s.answer(c) })
	}
}

// Cancel ends what calls wait for, now and later: the end of an observation does not
// wait for a CPU to become quiet. Those that have no answer fail with EAGAIN.
func (s *Supervisor) Cancel() { s.cancel() }

// pause waits for a while, and reports whether the wait was cancelled.
func (s *Supervisor) pause(d time.Duration) (cancelled bool) {
	select {
	case <-s.cancelled:
		return true
	case <-time.After(d):
		return false
	}
}

// Close gives up the stories, after Serve has returned and neither Describe nor Asks is called any more.
func (s *Supervisor) Close() error { return errors.Join(s.stories.close(), s.asks.close()) }

// answer handles one call. It is not an error if the caller is gone.
func (s *Supervisor) answer(c seccomp.Call) {
	if err := s.handle(c); err != nil && !errors.Is(err, seccomp.ErrGone) {
		s.mu.Lock()
		s.err = cmp.Or(s.err, err)
		s.mu.Unlock()
	}
}

func (s *Supervisor) handle(c seccomp.Call) error {
	flags := c.Args[0]
	switch {
	case c.Args[1]|c.Args[2]|c.Args[3] != 0:
		return s.refuse(c, unix.EINVAL)
	case c.Option == abi.GetTaskIsolation:
		return s.wake(c, int64(s.flags(c.TID)), 0)
	case flags&(abi.Pages|abi.Slot|abi.Stories|abi.Asks) != 0:
		return s.page(c)
	}
	if flags&abi.Window != 0 {
		if err := s.window(c); err != nil {
			return errors.Join(err, s.refuse(c, unix.EAGAIN))
		}
	}
	switch {
	case flags&abi.Enable == 0: // the end of the call ends isolation
		return s.wake(c, 0, 0)
	case flags>>abi.SignalShift&abi.SignalMask > maxSignal:
		return s.refuse(c, unix.EINVAL)
	}
	return s.enter(c)
}

// window lets the operations that wait for the caller be done.
func (s *Supervisor) window(c seccomp.Call) error {
	if s.cfg.Gate == nil {
		return nil
	}
	slot, err := s.slot(c)
	if err != nil {
		return err
	}
	return s.cfg.Gate.Window(slot)
}

// refuse answers with an error.
func (s *Supervisor) refuse(c seccomp.Call, errno unix.Errno) error { return s.wake(c, 0, errno) }

// page hands out the status page.
func (s *Supervisor) page(c seccomp.Call) error {
	slot, err := s.slot(c)
	switch {
	case err != nil:
		return s.refuse(c, unix.EUSERS)
	case c.Args[0]&abi.Slot != 0:
		return s.wake(c, int64(slot), 0)
	case c.Args[0]&abi.Stories != 0:
		return s.calls.AnswerFile(c, s.stories.fd)
	case c.Args[0]&abi.Asks != 0:
		return s.calls.AnswerFile(c, s.asks.fd)
	}
	return s.calls.AnswerFile(c, s.cfg.Isolation.Pages())
}

// wake answers a call. The interrupt that this may send to the caller's CPU is
// not a disturbance of it.
func (s *Supervisor) wake(c seccomp.Call, value int64, errno unix.Errno) error {
	cpu, ok := s.cpu(c.TID)
	if !ok {
		return s.calls.Answer(c, value, errno)
	}
	lock := s.cpus[cpu]
	lock.Lock()
	defer lock.Unlock()
	s.cfg.Isolation.Answer(cpu, c.TID)
	return s.deliver(c, cpu, value, errno)
}

// deliver sends the answer that was announced to a CPU and waits until the
// caller is back from its call.
func (s *Supervisor) deliver(c seccomp.Call, cpu int, value int64, errno unix.Errno) error {
	if err := s.calls.Answer(c, value, errno); err != nil {
		s.cfg.Isolation.Withdraw(cpu)
		return err
	}
	for since := time.Now(); s.cfg.Isolation.Answered(cpu) == c.TID; {
		switch waited := time.Since(since); {
		case waited > returnTimeout, waited > soon && !s.staysOn(c.TID, cpu):
			s.cfg.Isolation.Withdraw(cpu) // the thread does not come back there: others may have the CPU
		case waited > soon && s.pause(look):
			return nil // the thread comes back without a wait for it
		}
	}
	return nil
}

// staysOn reports whether a thread is there and may run on nothing but a CPU.
func (s *Supervisor) staysOn(tid uint32, cpu int) bool {
	only, ok := s.cpu(tid)
	return ok && only == cpu
}

// cpu returns the only CPU a thread may run on, if it is one for isolation.
func (s *Supervisor) cpu(tid uint32) (int, bool) {
	cpus, err := s.cfg.Affinity(int(tid))
	if err != nil || cpus.Len() != 1 {
		return 0, false
	}
	cpu, _ := cpus.First()
	return cpu, s.cfg.CPUs.Contains(cpu)
}

// enter waits for the caller's CPU to become quiet and lets isolation begin. The
// kernel looks at the affinity once more when the call returns.
func (s *Supervisor) enter(c seccomp.Call) error {
	if s.cfg.Gate != nil {
		done, err := s.cfg.Gate.Enter()
		defer done()
		if err != nil {
			return errors.Join(err, s.refuse(c, unix.EAGAIN))
		}
	}
	waitedFor := ""
	for start := time.Now(); ; {
		cpu, ok := s.cpu(c.TID)
		if !ok {
			s.attempt(c.TID, time.Since(start), unix.EINVAL, "not on exactly one CPU for isolation")
			return s.refuse(c, unix.EINVAL)
		}
		slot, err := s.slot(c)
		if err != nil {
			s.attempt(c.TID, time.Since(start), unix.EAGAIN, err.Error())
			return s.refuse(c, unix.EAGAIN)
		}
		why, release := s.occupy(cpu, slot)
		switch {
		case why == "":
			defer release()
			s.attempt(c.TID, time.Since(start), 0, waitedFor)
			s.setFlags(slot, c)
			s.cfg.Isolation.Grant(cpu, c.TID)
			return s.deliver(c, cpu, 0, 0)
		case time.Since(start) > s.cfg.Settle:
			s.attempt(c.TID, time.Since(start), unix.EAGAIN, why)
			return s.refuse(c, unix.EAGAIN)
		case !s.calls.Waits(c):
			s.attempt(c.TID, time.Since(start), unix.EINTR, why)
			return nil
		case s.pause(look):
			s.attempt(c.TID, time.Since(start), unix.EAGAIN, "taskiso, which ended")
			return s.refuse(c, unix.EAGAIN)
		}
		waitedFor = why
	}
}

// occupy takes a CPU for a thread that is to be isolated there, until release, or
// returns what disturbs the CPU.
func (s *Supervisor) occupy(cpu, slot int) (why string, release func()) {
	lock := s.cpus[cpu]
	if !lock.TryLock() {
		return "another thread that enters", nil
	}
	if other, ok := s.cfg.Isolation.Occupant(cpu); ok && other != slot {
		lock.Unlock()
		return "another isolated thread", nil
	}
	if !s.cfg.Isolation.Idle(cpu) { // the caller waits, so another task runs, perhaps without a tick
		lock.Unlock()
		return taskiso.Task.String(), nil
	}
	if last, by := s.cfg.Isolation.Disturbed(cpu); clock.Now()-max(last, s.started) < quietFor {
		lock.Unlock()
		return by.String(), nil
	}
	return "", lock.Unlock
}

// slot returns the number of the caller's status page, and gives the caller a page if it has none.
func (s *Supervisor) slot(c seccomp.Call) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := -1
	for i, owner := range s.slots {
		switch {
		case owner.tid == c.TID && owner.called == c.At:
			return i, nil
		case owner.tid == c.TID:
			// The BPF programs take the page from a thread that ends, and [Supervisor.Ended] is called only later:
			// the caller may be another thread with the same number.
			s.slots[i].called = c.At
			return i, s.cfg.Isolation.Assign(c.TID, i)
		case owner.tid == 0 && free < 0:
			free = i
		}
	}
	if free < 0 {
		return 0, fmt.Errorf("more than %d threads at a time", len(s.slots))
	}
	if err := s.cfg.Isolation.Assign(c.TID, free); err != nil {
		return 0, err
	}
	s.slots[free] = slot{tid: c.TID, called: c.At}
	return free, nil
}

// setFlags notes the flags of a successful call.
func (s *Supervisor) setFlags(slot int, c seccomp.Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots[slot].flags, s.slots[slot].flagsSince = c.Args[0], c.At
}

// flags returns the flags of a thread's last successful call.
func (s *Supervisor) flags(tid uint32) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, owner := range s.slots {
		if owner.tid == tid {
			return owner.flags
		}
	}
	return 0
}

// Ended takes the status page from a thread that ended at a time of CLOCK_MONOTONIC. A thread that has called with the
// same number after that is another one, and keeps the page.
func (s *Supervisor) Ended(tid uint32, at time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, owner := range s.slots {
		switch {
		case owner.tid != tid:
		case owner.called <= at:
			s.slots[i] = slot{}
			s.cfg.Isolation.Release(tid)
		case owner.flagsSince <= at:
			s.slots[i].flags = 0
		}
	}
}

// Describe lets a thread read what became known of its break at a time of the kernel's CLOCK_MONOTONIC: the cause's id,
// and a text for people. The thread reads the time on its own clock, as in its status page.
func (s *Supervisor) Describe(tid uint32, at time.Duration, id, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, owner := range s.slots {
		if owner.tid == tid {
			s.stories.write(i, at+s.cfg.Isolation.Ahead(i), id, text)
		}
	}
}

// Err returns the first failure to answer a call, or nil.
func (s *Supervisor) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
