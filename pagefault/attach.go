// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// group is the events of one thread on one CPU. They are switched together.
type group struct {
	events []event // the first one leads
	owner  int     // thread they were opened for; they may be inherited from it
}

// attachment is everything that is open at the kernel for one target.
type attachment struct {
	open    opener
	target  Target
	pid     int
	options Options
	layout  layout
	inherit uint64 // bits of perf_event_attr
	cpus    []int  // -1 stands for all
	groups  []group
	rings   []*ring
	outputs []output // by index of the CPU
}

// output is where the events of a CPU write now.
type output struct {
	fd     int // that the ring belongs to; -1: there is none yet
	groups int // how many there are on this CPU
}

// attach opens all events, switched off.
//
// The kernel allows no buffer for an event that is inherited and counts on all
// CPUs (perf_mmap in kernel/events/core.c), because many CPUs would write to it.
// So a process has a buffer for each CPU, and a thread just one.
func attach(t Target, o Options, open opener) (*attachment, error) {
	if err := clock.Check(); err != nil {
		return nil, err
	}
	a := &attachment{open: open, target: t, pid: t.id, options: o, cpus: []int{-1}}
	a.layout = layout{stack: o.Stack, stackPointer: o.ThreadStacks && stackPointer != 0, ahead: clock.Ahead()}
	var err error
	if t.thread {
		a.pid, err = processOf(t.id)
		a.layout.pid, a.layout.tid = a.pid, t.id
	} else {
		a.inherit = unix.PerfBitInherit
		if !o.Children {
			a.inherit |= bitInheritThread
		}
		a.cpus, err = onlineCPUs()
	}
	if err != nil {
		return nil, err
	}
	if err := a.openAll(); err != nil {
		return nil, errors.Join(err, a.close())
	}
	return a, nil
}

func (a *attachment) openAll() error {
	if a.target.thread {
		return a.openThread(a.target.id)
	}
	err := eachThread(a.pid, a.openOnly)
	if !errors.Is(err, errSecondThread) {
		return err
	}
	if err := a.close(); err != nil {
		return err
	}
	a.layout.ids = true
	return eachThread(a.pid, a.openThread)
}

var errSecondThread = errors.New("another thread")

// openOnly opens the events of a process that has but one thread. If it has more,
// one of them may get a fault's samples from two events (see [tracker.isSecond]), and
// samples have to show which.
func (a *attachment) openOnly(tid int) error {
	if len(a.groups) > 0 {
		return errSecondThread
	}
	return a.openThread(tid)
}

// cloneTime is longer than a thread takes to become visible that was being created
// when its creator was attached to, and so did not inherit anything.
const cloneTime = 2 * time.Millisecond

// rounds bounds how often new threads are looked for. A process that creates
// threads all the time always has some; by now they inherit from their creators.
const rounds = 8

// eachThread calls open with all threads of a process, also those that come
// while it does so.
func eachThread(pid int, open func(tid int) error) error {
	done := make(map[int]bool)
	opened := 0
	for quiet, round := 0, 0; quiet < 2 && round < rounds; round++ {
		fresh, err := newThreads(pid, done)
		if err != nil {
			return err
		}
		for _, tid := range fresh {
			err := open(tid)
			if err != nil && !errors.Is(err, ErrNoTarget) {
				return err
			}
			if err == nil {
				opened++
			}
		}
		quiet++
		if len(fresh) > 0 {
			quiet = 0
		}
		time.Sleep(cloneTime)
	}
	if opened == 0 {
		return fmt.Errorf("watching process %d: %w", pid, ErrNoTarget)
	}
	return nil
}

// newThreads returns the threads of a process that are not done, and notes them as done.
func newThreads(pid int, done map[int]bool) ([]int, error) {
	tids, err := threads(pid)
	if err != nil {
		return nil, err
	}
	tids = slices.DeleteFunc(tids, func(tid int) bool { return done[tid] })
	for _, tid := range tids {
		done[tid] = true
	}
	return tids, nil
}

func (a *attachment) openThread(tid int) error {
	for i, cpu := range a.cpus {
		g, err := a.openGroup(tid, cpu)
		if errors.Is(err, unix.ENODEV) { // the CPU went offline
			continue
		}
		if err != nil {
			return a.explain(err, tid)
		}
		a.groups = append(a.groups, g)
		if err := a.connect(g, i); err != nil {
			return fmt.Errorf("watching thread %d: %w", tid, err)
		}
	}
	return nil
}

func (a *attachment) explain(err error, tid int) error {
	if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
		a.closeLast() // to have a descriptor for counting the threads
		return tooManyFiles(a.pid, len(a.cpus)*len(a.kinds()))
	}
	return explainOpen(err, tid, a.options.KernelMode)
}

func (a *attachment) closeLast() {
	if n := len(a.groups); n > 0 {
		a.groups[n-1].close() // what comes next is an error anyway
		a.groups = a.groups[:n-1]
	}
}

func tooManyFiles(pid, perThread int) error {
	tids, _ := threads(pid)
	var limit unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return fmt.Errorf("watching process %d: %w: its %d threads need %d each, and RLIMIT_NOFILE allows %d in all: raise that to %d (ulimit -n), "+
		"or watch the process from its start, for threads to come need none, or watch single threads",
		pid, ErrTooManyFiles, len(tids), perThread, limit.Cur, perThread*len(tids)+100)
}

func (a *attachment) kinds() []kind {
	kinds := []kind{major}
	if !a.options.MajorOnly {
		kinds = []kind{minor, major}
	}
	if a.options.Durations {
		kinds = append(kinds, entry)
	}
	return kinds
}

func (a *attachment) openGroup(tid, cpu int) (group, error) {
	g := group{owner: tid}
	leader := -1
	for i, k := range a.kinds() {
		attr := a.attr(k, i == 0)
		fd, err := a.openCompatible(&attr, tid, cpu, leader)
		if errors.Is(err, unix.EINVAL) && leader >= 0 {
			err = unix.ESRCH // what leads the group was allowed, so the thread is just exiting
		}
		if err != nil {
			return group{}, errors.Join(err, g.close())
		}
		g.events = append(g.events, event{fd, k})
		leader = g.events[0].fd
	}
	return g, nil
}

// openCompatible does without the restriction to threads where the kernel does
// not know it (before 5.13). Child processes are then left out by the reader.
func (a *attachment) openCompatible(attr *unix.PerfEventAttr, tid, cpu, leader int) (int, error) {
	fd, err := a.open(attr, tid, cpu, leader, unix.PERF_FLAG_FD_CLOEXEC)
	if errors.Is(err, unix.EINVAL) && attr.Bits&bitInheritThread != 0 {
		without := *attr
		without.Bits &^= bitInheritThread
		if fd, err := a.open(&without, tid, cpu, leader, unix.PERF_FLAG_FD_CLOEXEC); err == nil {
			a.inherit &^= bitInheritThread
			return fd, nil
		}
	}
	return fd, err
}

// attr lets one event of each group record mappings, names and threads as well.
func (a *attachment) attr(k kind, tracks bool) unix.PerfEventAttr {
	attr := baseAttr(k, a.options.KernelMode)
	attr.Sample = 1
	attr.Sample_type = a.layout.sampleType(k)
	if a.layout.stackPointer {
		attr.Sample_regs_user = stackPointer
	}
	attr.Clockid = unix.CLOCK_MONOTONIC
	// The reader looks at the buffer at intervals. A wake-up would interrupt the
	// watched CPU; the highest mark makes them as rare as they can be.
	attr.Wakeup = 1 << 31
	attr.Bits |= a.inherit | unix.PerfBitUseClockID | unix.PerfBitWatermark | unix.PerfBitSampleIDAll | unix.PerfBitExcludeCallchainKernel
	if tracks {
		attr.Bits |= unix.PerfBitMmap | unix.PerfBitMmapData | unix.PerfBitMmap2 | unix.PerfBitComm | unix.PerfBitCommExec | unix.PerfBitTask
	}
	if a.options.OnExec {
		attr.Bits |= unix.PerfBitEnableOnExec
	}
	return attr
}

// groupsPerRing bounds what the end of a thread costs it: the kernel then goes through all
// events that share its buffers (ring_buffer_wakeup in kernel/events/core.c). With 4,900
// threads that was 1.6 ms for each.
const groupsPerRing = 64

// connect lets g write to a buffer of CPU number i of a.cpus. Where no more buffers are
// allowed, groups share what there is.
func (a *attachment) connect(g group, i int) error {
	for len(a.outputs) <= i {
		a.outputs = append(a.outputs, output{fd: -1})
	}
	out := &a.outputs[i]
	if out.groups%groupsPerRing == 0 {
		r, err := a.newRing(g.events[0].fd, out.fd < 0)
		if err != nil && out.fd < 0 {
			return err
		}
		if err == nil {
			a.rings, out.fd = append(a.rings, r), g.events[0].fd
		}
	}
	out.groups++
	for _, e := range g.events {
		if e.fd == out.fd {
			continue
		}
		if err := e.ioctl(unix.PERF_EVENT_IOC_SET_OUTPUT, out.fd); err != nil {
			return err
		}
	}
	return nil
}

func (a *attachment) newRing(fd int, first bool) (*ring, error) {
	switch {
	case a.options.Buffer > 0:
		return newRing(fd, bufferSize(a.options.Buffer))
	case first:
		return newRingAtMost(fd, defaultBuffer)
	}
	return newRing(fd, furtherBuffer)
}

// owners returns the threads that events were opened for, by the number that
// samples name the event with.
func (a *attachment) owners() (map[uint64]int, error) {
	owners := make(map[uint64]int)
	for _, g := range a.groups {
		for _, e := range g.events {
			id, err := e.id()
			if err != nil {
				return nil, err
			}
			owners[id] = g.owner
		}
	}
	return owners, nil
}

// owned returns the threads that events were opened for.
func (a *attachment) owned() map[int]bool {
	owned := make(map[int]bool)
	for _, g := range a.groups {
		owned[g.owner] = true
	}
	return owned
}

// adopt attaches to one more thread, switched on.
func (a *attachment) adopt(tid int) error {
	n := len(a.groups)
	if err := a.openThread(tid); err != nil {
		return err
	}
	for _, g := range a.groups[n:] {
		if err := g.events[0].enableGroup(); err != nil {
			return err
		}
	}
	return nil
}

func (a *attachment) enable() error {
	return a.eachGroup(func(g group) error { return g.events[0].enableGroup() })
}

func (a *attachment) disable() error {
	return a.eachGroup(func(g group) error { return g.events[0].disableGroup() })
}

func (a *attachment) eachGroup(do func(group) error) error {
	for _, g := range a.groups {
		if err := do(g); err != nil {
			return err
		}
	}
	return nil
}

// counts returns how many faults there were of each kind.
func (a *attachment) counts() ([kinds]uint64, error) {
	var sum [kinds]uint64
	err := a.eachGroup(func(g group) error {
		for _, e := range g.events {
			n, err := e.count()
			if err != nil {
				return err
			}
			sum[e.kind] += n
		}
		return nil
	})
	return sum, err
}

func (a *attachment) close() error {
	var errs []error
	for _, r := range a.rings {
		errs = append(errs, r.close())
	}
	for _, g := range a.groups {
		errs = append(errs, g.close())
	}
	a.rings, a.outputs, a.groups = nil, nil, nil
	return errors.Join(errs...)
}

func (g group) close() error {
	var errs []error
	for _, e := range g.events {
		errs = append(errs, unix.Close(e.fd))
	}
	return errors.Join(errs...)
}
