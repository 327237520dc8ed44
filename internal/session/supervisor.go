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
	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/trace"
)

// Flags in the second argument of prctl(48). The first three are those of the
// task isolation series; the others, which no version of it used, are ours.
const (
	flagEnable  = 1 << 0
	flagUserSig = 1 << 1  // first version: the signal is the caller's choice, even none
	flagPages   = 1 << 16 // return a descriptor of the status pages
	flagSlot    = 1 << 17 // return the number of the caller's status page
	flagStories = 1 << 18 // return a descriptor of the stories
	flagWindow  = 1 << 19 // first let operations go on that wait for the caller

	signalShift = 8
	signalMask  = 0x7f
	maxSignal   = 64 // _NSIG
)

// quietFor is how long a CPU must have been left alone before it counts as
// quiet: longer than the period of the slowest tick, that of HZ=100.
const quietFor = 12 * time.Millisecond

// look is how often a CPU that is not quiet yet is looked at.
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
	Pages() int
}

// Config says who may be isolated where.
type Config struct {
	Isolation Watch
	CPUs      cpulist.Set // on which a thread may be isolated
	Settle    time.Duration
	// Affinity returns the CPUs a thread may run on.
	Affinity func(tid int) (cpulist.Set, error)
	Gate     Gate // nil: nothing is held
}

// Gate holds operations back while a thread is isolated. Its methods are called
// concurrently.
type Gate interface {
	// Enter closes it before a thread may be isolated. What it returns is called
	// when the thread is, or will not be.
	Enter() (done func(), err error)
	// Window opens it for the thread with a slot, which is in its call, and returns
	// when what waited has been done.
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
	started time.Duration

	mu      sync.Mutex
	threads map[uint32]*Thread
	slots   [trace.StatusSlots]uint32 // the thread with the status page, or 0
	cpus    map[int]*sync.Mutex       // held from an answer to the return of its call
	err     error                     // the first that Serve met
}

// New returns a supervisor for the calls that arrive at a listener.
func New(cfg Config, from calls) (*Supervisor, error) {
	stories, err := newStories()
	if err != nil {
		return nil, err
	}
	s := &Supervisor{
		cfg: cfg, calls: from, stories: stories, started: now(),
		threads: make(map[uint32]*Thread), cpus: make(map[int]*sync.Mutex),
	}
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

// Close gives up the stories, after Serve has returned and Tell is not called any more.
func (s *Supervisor) Close() error { return s.stories.close() }

// answer handles one call. That its caller is gone is no error.
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
	case c.Option == seccomp.GetTaskIsolation:
		return s.wake(c, int64(s.thread(c.TID).flags()), 0)
	case flags&(flagPages|flagSlot|flagStories) != 0:
		return s.page(c)
	}
	if flags&flagWindow != 0 {
		if err := s.window(c); err != nil {
			return errors.Join(err, s.refuse(c, unix.EAGAIN))
		}
	}
	switch {
	case flags&flagEnable == 0: // the end of the call ends isolation
		return s.wake(c, 0, 0)
	case flags>>signalShift&signalMask > maxSignal:
		return s.refuse(c, unix.EINVAL)
	}
	return s.enter(c)
}

// window lets what waits for the caller be done.
func (s *Supervisor) window(c seccomp.Call) error {
	if s.cfg.Gate == nil {
		return nil
	}
	slot, err := s.slot(c.TID)
	if err != nil {
		return err
	}
	return s.cfg.Gate.Window(slot)
}

// refuse answers with an error.
func (s *Supervisor) refuse(c seccomp.Call, errno unix.Errno) error { return s.wake(c, 0, errno) }

// page hands out the status page.
func (s *Supervisor) page(c seccomp.Call) error {
	slot, err := s.slot(c.TID)
	switch {
	case err != nil:
		return s.refuse(c, unix.EUSERS)
	case c.Args[0]&flagSlot != 0:
		return s.wake(c, int64(slot), 0)
	case c.Args[0]&flagStories != 0:
		return s.calls.AnswerFile(c, s.stories.fd)
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
		case waited > returnTimeout:
			s.cfg.Isolation.Withdraw(cpu)
		case waited > soon:
			time.Sleep(look)
		}
	}
	return nil
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
	t := s.thread(c.TID)
	waitedFor := ""
	for start := time.Now(); ; time.Sleep(look) {
		cpu, ok := s.cpu(c.TID)
		if !ok {
			t.attempt(time.Since(start), unix.EINVAL, "not on exactly one CPU for isolation")
			return s.refuse(c, unix.EINVAL)
		}
		slot, err := s.slot(c.TID)
		if err != nil {
			t.attempt(time.Since(start), unix.EAGAIN, err.Error())
			return s.refuse(c, unix.EAGAIN)
		}
		why, release := s.occupy(cpu, slot)
		switch {
		case why == "":
			defer release()
			t.attempt(time.Since(start), 0, waitedFor)
			t.setFlags(c.Args[0])
			s.cfg.Isolation.Grant(cpu, c.TID)
			return s.deliver(c, cpu, 0, 0)
		case time.Since(start) > s.cfg.Settle:
			t.attempt(time.Since(start), unix.EAGAIN, why)
			return s.refuse(c, unix.EAGAIN)
		case !s.calls.Waits(c):
			t.attempt(time.Since(start), unix.EINTR, why)
			return nil
		}
		waitedFor = why
	}
}

// occupy takes a CPU for a thread that is to be isolated there, until release, or
// says what it is not quiet of.
func (s *Supervisor) occupy(cpu, slot int) (why string, release func()) {
	lock := s.cpus[cpu]
	if !lock.TryLock() {
		return "another thread that enters", nil
	}
	if other, ok := s.cfg.Isolation.Occupant(cpu); ok && other != slot {
		lock.Unlock()
		return "another isolated thread", nil
	}
	if !s.cfg.Isolation.Idle(cpu) { // the caller waits: it is somebody else, who may run without a tick
		lock.Unlock()
		return taskiso.Task.String(), nil
	}
	if last, by := s.cfg.Isolation.Disturbed(cpu); now()-max(last, s.started) < quietFor {
		lock.Unlock()
		return by.String(), nil
	}
	return "", lock.Unlock
}

// slot returns the number of a thread's status page, and gives it one if it has none.
func (s *Supervisor) slot(tid uint32) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := -1
	for slot, owner := range s.slots {
		switch {
		case owner == tid:
			return slot, nil
		case owner == 0 && free < 0:
			free = slot
		}
	}
	if free < 0 {
		return 0, fmt.Errorf("more than %d threads at a time", len(s.slots))
	}
	if err := s.cfg.Isolation.Assign(tid, free); err != nil {
		return 0, err
	}
	s.slots[free] = tid
	return free, nil
}

// Ended takes the status page from a thread that has ended.
func (s *Supervisor) Ended(tid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, owner := range s.slots {
		if owner == tid {
			s.slots[slot] = 0
			s.cfg.Isolation.Release(tid)
		}
	}
}

// Tell lets a thread read what became known of its break at a time of
// CLOCK_MONOTONIC, that of its status page: the cause's id, and a text for people.
func (s *Supervisor) Tell(tid uint32, at time.Duration, id, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, owner := range s.slots {
		if owner == tid {
			s.stories.tell(slot, at, id, text)
		}
	}
}

// Err returns the first failure to answer a call, or nil.
func (s *Supervisor) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// now returns the time in the clock of the events.
func now() time.Duration {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail: the clock exists and ts is ours
	return time.Duration(ts.Nano())
}
