// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
)

// A simulated machine, of which everything is known, makes the events that the BPF programs would make of it. What
// the builder says is then held against the truth: an origin is the true one or none, what is exact is exact, a
// lower bound is one, and the time of a CPU is not given away twice.

const machineCPUs = 4 // of CPUs 1 and 2 everything is recorded, unless threads are followed everywhere; 2 and 3 have context tracking

type mode int

const (
	where    mode = iota // in which a simulated task is
	inUser               // ...
	inKernel             // on a CPU
	ready                // would go on
	byChoice             // asleep in a system call
	byForce              // asleep in something else
	gone
)

type segment struct {
	from, to time.Duration
	mode     mode
}

type simTask struct {
	event.Task
	cpu      int
	mode     mode
	since    time.Duration
	segments []segment
	entered  event.Kind // what it is in the kernel for; 0 for what has no event
	ip       uint64
	mask     int
	wokenBy  string // since it has run last
	movedBy  string
}

func (t *simTask) set(m mode, now time.Duration) {
	t.segments = append(t.segments, segment{t.since, now, t.mode})
	t.mode, t.since = m, now
}

// spent returns how long the task was in one of the modes between two times.
func (t *simTask) spent(from, to time.Duration, modes ...mode) time.Duration {
	var sum time.Duration
	for _, s := range append(t.segments, segment{t.since, to, t.mode}) {
		if slices.Contains(modes, s.mode) {
			sum += max(0, min(s.to, to)-max(s.from, from))
		}
	}
	return sum
}

type simCall struct {
	csd, function uint64
	by            string
	shown         bool
}

type simWork struct {
	item uint64
	by   string
}

type simCPU struct {
	current     *simTask
	idle        *simTask
	worker      *simTask
	ready       []*simTask
	queue       []simCall // function calls and irq_works
	flushing    []simCall // taken from it, still to run
	interrupt   bool      // of them is on its way
	reschedules []string
	works       []simWork
}

type simTimer struct {
	cpu   int
	by    string
	wheel bool
}

type machine struct {
	*rand.Rand
	t          *testing.T
	everywhere bool
	lossRate   int // one of so many events is lost; 0: none
	missRate   int // one of so many senders is missed; 0: none
	now        time.Duration
	cpus       [machineCPUs]*simCPU
	tasks      []*simTask
	byNumber   map[uint32][]*simTask
	timers     map[uint64]*simTimer
	irqCPU     int
	irqBy      string
	names      int
	nesting    int

	batch   event.Batch
	lossy   map[int]bool // of the batch before
	missed  bool         // in the batch before
	senders map[time.Duration][]string

	builder *Builder
	given   [machineCPUs]time.Duration
	ends    map[uint32]time.Duration
	origins int
	exact   int
	bounds  int
}

func newMachine(t *testing.T, seed uint64) *machine {
	m := &machine{
		Rand: rand.New(rand.NewPCG(seed, 7)), t: t, now: 1000, byNumber: make(map[uint32][]*simTask), timers: make(map[uint64]*simTimer),
		senders: make(map[time.Duration][]string), lossy: make(map[int]bool), ends: make(map[uint32]time.Duration),
	}
	m.everywhere = m.IntN(2) == 0
	if m.IntN(3) == 0 {
		m.lossRate = 50 + m.IntN(300)
	}
	if m.IntN(3) == 0 {
		m.missRate = 20 + m.IntN(300)
	}
	tracked, err := cpulist.New(2, 3)
	if err != nil {
		t.Fatal(err)
	}
	m.builder = NewBuilder(tracked, m.judge)
	m.builder.Everywhere = m.everywhere
	for i := range m.cpus {
		c := &simCPU{idle: &simTask{Task: event.Task{Name: "swapper", Kernel: true}, cpu: i, mode: inKernel}}
		c.worker = m.task(uint32(10+i), false, true, i)
		c.current = c.idle
		m.cpus[i] = c
	}
	for i := range 5 {
		m.task(uint32(100+i), true, false, m.IntN(machineCPUs))
	}
	for i := range 4 {
		m.task(uint32(200+i), false, false, m.IntN(machineCPUs))
	}
	for id := range uint64(6) {
		m.timers[id] = &simTimer{cpu: -1, wheel: id%2 == 0}
	}
	return m
}

func (m *machine) task(tid uint32, watched, kernel bool, cpu int) *simTask {
	t := &simTask{Task: event.Task{TID: tid, PID: tid, Name: fmt.Sprint("t", tid), Watched: watched, Kernel: kernel, Born: m.now}, cpu: cpu, since: m.now, mode: byForce, mask: 1<<machineCPUs - 1}
	t.ip = uint64(0x1000 + m.IntN(4))
	m.byNumber[tid] = append(m.byNumber[tid], t)
	if !kernel {
		m.tasks = append(m.tasks, t)
	}
	return t
}

func (m *machine) tracked(cpu int) bool { return cpu == 2 || cpu == 3 }
func (m *machine) recorded(cpu int) bool {
	return !m.everywhere && (cpu == 1 || cpu == 2)
}

// watches tells what watched_cpu() and watched_target() do.
func (m *machine) watches(cpu int) bool {
	return m.recorded(cpu) || m.everywhere && m.cpus[cpu].current.Watched
}

func (m *machine) name() string { m.names++; return fmt.Sprint("s", m.names) }

// pass lets time go by, in which other CPUs send.
func (m *machine) pass() {
	m.now += time.Duration(1 + m.IntN(3000))
	if m.IntN(20) == 0 {
		m.now += time.Duration(m.IntN(3_000_000))
	}
	if m.nesting == 0 && m.IntN(4) == 0 {
		m.nesting++
		m.send(m.IntN(machineCPUs))
		m.nesting--
	}
	m.now++
}

func (m *machine) record(when bool, cpu int, kind event.Kind, changes ...change) time.Duration {
	m.now++
	if !when {
		return m.now
	}
	current := m.cpus[cpu].current
	e := event.Event{Time: m.now, Kind: kind, CPU: cpu, TID: current.TID, Watched: current.Watched}
	if !current.Kernel {
		e.UserIP = current.ip
	}
	for _, c := range changes {
		c(&e)
	}
	if m.missRate > 0 && kind.IsSend() && m.IntN(m.missRate) == 0 {
		m.batch.SendersMissed = true
		return m.now
	}
	if m.lossRate > 0 && m.IntN(m.lossRate) == 0 {
		if m.batch.Lost == nil {
			m.batch.Lost = make(map[int]uint64)
		}
		m.batch.Lost[cpu]++
		return m.now
	}
	m.batch.Events = append(m.batch.Events, e)
	return m.now
}

func by(name string) change { return func(e *event.Event) { e.Sender = &event.Sender{Name: name} } }
func shown(s bool) change   { return func(e *event.Event) { e.Sender.Shown = s } }

// send does something to another CPU, or to a task.
func (m *machine) send(from int) {
	to, name := m.IntN(machineCPUs), m.name()
	target := argA(uint64(to))
	switch m.IntN(8) {
	case 0, 1:
		if to == from {
			return
		}
		shows := m.IntN(2) == 0
		csd := uint64(10*to + m.IntN(2)) // any CPU can use it
		if shows {
			csd += 1000
		}
		if slices.ContainsFunc(append(m.cpus[to].flushing, m.cpus[to].queue...), func(c simCall) bool { return c.csd == csd }) {
			return // it is locked
		}
		call := simCall{csd: csd, function: csd << 8, by: name, shown: shows}
		m.record(m.watches(to), from, event.SendCall, target, argB(call.function), argC(csd), by(name), shown(call.shown))
		c := m.cpus[to]
		c.interrupt = c.interrupt || len(c.queue) == 0 && c.current != c.idle // an idle CPU polls
		c.queue = append(c.queue, call)
	case 2:
		if to == from || m.cpus[to].current == m.cpus[to].idle {
			return
		}
		m.record(m.watches(to), from, event.SendReschedule, target, by(name))
		m.cpus[to].reschedules = append(m.cpus[to].reschedules, name)
	case 3, 4:
		m.wake(m.tasks[m.IntN(len(m.tasks))], from, name)
	case 5:
		item := uint64(m.IntN(5))
		for i, c := range m.cpus {
			if slices.ContainsFunc(c.works, func(w simWork) bool { return w.item == item }) {
				if m.IntN(2) == 0 {
					return // it is pending
				}
				m.cpus[i].works = slices.DeleteFunc(c.works, func(w simWork) bool { return w.item == item }) // cancelled
			}
		}
		m.record(m.watches(to), from, event.SendWork, target, argC(item), by(name))
		m.cpus[to].works = append(m.cpus[to].works, simWork{item, name})
		m.wake(m.cpus[to].worker, from, m.name())
	case 6:
		id := uint64(m.IntN(len(m.timers)))
		timer := m.timers[id]
		kind := event.SendHRTimer
		if timer.wheel {
			kind = event.SendTimer
		}
		m.record(m.watches(to), from, kind, target, argC(id), by(name))
		timer.cpu, timer.by = to, name
	case 7:
		if m.IntN(2) == 0 {
			m.record(m.watches(to), from, event.SendIRQ, target, argB(5), by(name))
			m.irqCPU, m.irqBy = to, name
			return
		}
		m.allow(m.tasks[m.IntN(len(m.tasks))], from, name)
	}
}

// allow changes where a task may run.
func (m *machine) allow(t *simTask, from int, name string) {
	mask := 1 + m.IntN(1<<machineCPUs-1)
	if t.mode == gone || t.mode != byChoice && t.mode != byForce && mask>>t.cpu&1 == 0 {
		return
	}
	watched := -1
	for i := range m.cpus {
		if mask>>i&1 == 1 && (m.everywhere || m.recorded(i)) {
			watched = i
		}
	}
	m.record(watched >= 0, from, event.SendAffinity, argA(uint64(watched)), argB(uint64(t.TID)), by(name))
	t.mask, t.movedBy = mask, name
}

func (m *machine) wake(t *simTask, from int, name string) {
	if t.mode != byChoice && t.mode != byForce {
		return
	}
	when := m.watches(t.cpu) || m.everywhere && t.Watched
	at := m.record(when, from, event.SendWake, argA(uint64(t.cpu)), argB(uint64(t.TID)), argC(t.Switches), by(name))
	t.set(ready, at)
	t.wokenBy = name
	to := t.cpu
	if !t.Kernel && (m.IntN(3) == 0 || t.mask>>to&1 == 0) {
		for to = m.IntN(machineCPUs); t.mask>>to&1 == 0; to = m.IntN(machineCPUs) {
		}
	}
	m.migrate(t, from, to)
	m.cpus[to].ready = append(m.cpus[to].ready, t)
}

func (m *machine) migrate(t *simTask, from, to int) {
	if to != t.cpu {
		m.record(!m.everywhere && m.recorded(t.cpu) && !m.recorded(to) && t.Watched, from, event.Migrate, argA(uint64(to)), argB(uint64(t.TID)))
	}
	t.cpu = to
}

// steal takes a task that waits for one CPU to another.
func (m *machine) steal(to int) {
	from := m.IntN(machineCPUs)
	c := m.cpus[from]
	if from == to || len(c.ready) == 0 || c.ready[0].Kernel || c.ready[0].mask>>to&1 == 0 {
		return
	}
	t := c.ready[0]
	c.ready = c.ready[1:]
	m.migrate(t, to, to)
	m.cpus[to].ready = append(m.cpus[to].ready, t)
}

// step lets a CPU do something.
func (m *machine) step(cpu int) {
	m.pass()
	c := m.cpus[cpu]
	switch {
	case (c.interrupt || len(c.reschedules) > 0) && m.IntN(3) > 0:
		m.interrupted(cpu)
	case m.IntN(8) == 0:
		m.interrupted(cpu)
	case m.IntN(12) == 0:
		m.steal(cpu)
	case m.IntN(6) == 0 && c.current.mode == inKernel:
		m.send(cpu)
	case c.current == c.idle:
		if len(c.ready) > 0 || m.IntN(3) == 0 && len(c.queue) > 0 {
			m.flush(cpu)
			m.schedule(cpu, inKernel, 0)
		}
	case c.current == c.worker:
		m.work(cpu)
	case c.current.mode == inUser:
		m.inUserMode(cpu)
	default:
		m.inSystem(cpu)
	}
}

func (m *machine) own(cpu int) bool { return m.watches(cpu) && m.cpus[cpu].current.Watched }

func (m *machine) enter(cpu int) {
	t := m.cpus[cpu].current
	at := m.record(m.own(cpu) && m.tracked(cpu), cpu, event.UserExit)
	t.set(inKernel, at)
}

func (m *machine) leave(cpu int) {
	t := m.cpus[cpu].current
	at := m.record(m.own(cpu) && m.tracked(cpu), cpu, event.UserEnter)
	t.set(inUser, at)
	if m.IntN(4) > 0 {
		t.ip = uint64(0x1000 + m.IntN(4))
	}
}

func (m *machine) inUserMode(cpu int) {
	t := m.cpus[cpu].current
	m.enter(cpu)
	t.entered = []event.Kind{event.SyscallEnter, event.PageFault, 0}[m.IntN(3)]
	if t.entered != 0 {
		m.record(m.own(cpu), cpu, t.entered, argA(39))
	}
}

func (m *machine) inSystem(cpu int) {
	c := m.cpus[cpu]
	t := c.current
	switch n := m.IntN(10); {
	case n == 0 && t.Watched && t.entered == event.SyscallEnter && m.IntN(4) == 0:
		m.exit(cpu)
	case n < 2:
		sleeps := byForce
		if t.entered == event.SyscallEnter {
			sleeps = byChoice
		}
		m.schedule(cpu, sleeps, sleeping)
	case n < 3 && len(c.ready) > 0:
		m.schedule(cpu, ready, runnable)
	case n < 7:
		if t.entered == event.SyscallEnter {
			m.record(m.own(cpu), cpu, event.SyscallExit)
			m.pass()
		}
		if m.IntN(6) == 0 {
			m.record(m.own(cpu), cpu, event.Signal, argA(10))
		}
		m.leave(cpu)
	}
}

// exit ends a thread; another soon has its number.
func (m *machine) exit(cpu int) {
	t := m.cpus[cpu].current
	var elsewhere uint64
	if !m.recorded(cpu) && !m.everywhere {
		elsewhere = 1
	}
	m.record(true, cpu, event.Exit, argA(elsewhere))
	m.tasks = slices.DeleteFunc(m.tasks, func(o *simTask) bool { return o == t })
	m.schedule(cpu, gone, dead)
	m.now++
	m.task(t.TID, true, false, m.IntN(machineCPUs))
}

func (m *machine) schedule(cpu int, to mode, state uint64) {
	c := m.cpus[cpu]
	prev, next := c.current, c.idle
	if len(c.ready) > 0 {
		next, c.ready = c.ready[0], c.ready[1:]
	}
	if next == prev {
		return
	}
	prev.Switches++
	task := next.Task
	at := m.record(m.recorded(cpu) || m.everywhere && (prev.Watched || next.Watched), cpu, event.Switch, argA(uint64(next.TID)), argB(state),
		func(e *event.Event) { e.Task = &task })
	m.senders[at] = []string{next.wokenBy, next.movedBy}
	next.wokenBy = ""
	c.current = next
	if prev != c.idle {
		prev.set(to, at)
	}
	if to == ready {
		c.ready = append(c.ready, prev)
	}
	if next != c.idle {
		next.set(inKernel, at)
	}
}

func (m *machine) work(cpu int) {
	c := m.cpus[cpu]
	if len(c.works) == 0 {
		m.schedule(cpu, byForce, sleeping)
		return
	}
	w := c.works[0]
	c.works = c.works[1:]
	m.senders[m.record(m.watches(cpu), cpu, event.Work, argB(w.item))] = []string{w.by}
}

// flush runs what is in the queue of calls; irq_works show nowhere. It returns who sent those.
func (m *machine) flush(cpu int) []string {
	c := m.cpus[cpu]
	c.flushing, c.queue, c.interrupt = c.queue, nil, false
	var silent []string
	for len(c.flushing) > 0 {
		call := c.flushing[0]
		c.flushing = slices.Clone(c.flushing[1:]) // an asynchronous csd is free to be sent again before its function is called
		m.pass()
		if !call.shown {
			silent = append(silent, call.by)
			continue
		}
		m.senders[m.record(m.watches(cpu), cpu, event.CSDEnter, argA(call.function), argB(call.csd))] = []string{call.by}
		m.record(m.watches(cpu), cpu, event.CSDExit)
	}
	return silent
}

func (m *machine) interrupted(cpu int) {
	c := m.cpus[cpu]
	t := c.current
	fromUser := t.mode == inUser
	if fromUser {
		m.enter(cpu)
	}
	kind := m.handle(cpu)
	m.record(m.watches(cpu), cpu, kind+1, argA(5))
	if m.IntN(4) == 0 {
		m.pass()
		m.record(m.watches(cpu), cpu, event.SoftirqEnter)
		m.expire(cpu, true)
		m.record(m.watches(cpu), cpu, event.SoftirqExit)
	}
	m.pass()
	if !fromUser {
		return
	}
	t.entered = 0
	if len(c.ready) > 0 && m.IntN(2) == 0 {
		m.schedule(cpu, ready, runnable) // goes back when it runs again
		return
	}
	m.leave(cpu)
}

func (m *machine) handle(cpu int) event.Kind {
	c := m.cpus[cpu]
	switch {
	case c.interrupt:
		at := m.record(m.watches(cpu), cpu, event.CallFunctionSingleEnter)
		m.pass()
		m.senders[at] = m.flush(cpu)
		m.pass()
		return event.CallFunctionSingleEnter
	case len(c.reschedules) > 0:
		m.senders[m.record(m.watches(cpu), cpu, event.RescheduleEnter)] = c.reschedules
		c.reschedules = nil
		m.pass()
		return event.RescheduleEnter
	case m.irqCPU == cpu && m.IntN(2) == 0:
		m.senders[m.record(m.watches(cpu), cpu, event.IRQEnter, argA(5))] = []string{m.irqBy}
		m.pass()
		return event.IRQEnter
	}
	m.record(m.watches(cpu), cpu, event.LocalTimerEnter)
	m.pass()
	m.expire(cpu, false)
	return event.LocalTimerEnter
}

// expire calls the functions of timers that are due. Those of the wheel can be those of another CPU.
func (m *machine) expire(cpu int, wheel bool) {
	for id := range uint64(len(m.timers)) {
		timer := m.timers[id]
		if timer.wheel != wheel || timer.cpu < 0 || timer.cpu != cpu && (!wheel || m.IntN(3) > 0) || m.IntN(2) == 0 {
			continue
		}
		kind, base := event.HRTimer, uint64(0)
		if wheel {
			kind, base = event.Timer, uint64(timer.cpu+1)
		}
		m.senders[m.record(m.watches(cpu), cpu, kind, argB(id), argC(base))] = []string{timer.by}
		m.pass()
		if wheel || m.IntN(2) == 0 { // the others set themselves again
			timer.cpu = -1
		}
	}
}

// hand gives the builder what was recorded. What was lost can have been counted late.
func (m *machine) hand() {
	m.batch.Until = m.now
	counted := make(map[int]bool)
	for cpu := range m.batch.Lost {
		counted[cpu] = true
	}
	for cpu := range m.lossy {
		if m.batch.Lost == nil {
			m.batch.Lost = make(map[int]uint64)
		}
		m.batch.Lost[cpu] += 0
	}
	m.lossy = counted
	missed := m.batch.SendersMissed
	m.batch.SendersMissed = missed || m.missed
	m.missed = missed
	m.builder.Add(m.batch)
	m.batch = event.Batch{}
	m.now++
}

// owner returns the task that had a number at a time.
func (m *machine) owner(s *Stay) *simTask {
	for _, t := range m.byNumber[s.TID] {
		if len(t.segments) > 0 && t.segments[0].from <= s.Start && (t.mode != gone || t.since >= s.End) {
			return t
		}
	}
	return nil
}

func (m *machine) judge(s *Stay) {
	fail := func(format string, args ...any) {
		m.t.Helper()
		m.t.Errorf(format+": %s, duration %d waited %d gap %d", append(args, show(s), s.Duration(), s.Waited, s.Gap)...)
	}
	for _, p := range s.Inside {
		for _, from := range p.Senders {
			m.origins++
			if !slices.Contains(m.senders[p.Event.Time], from.Sender.Name) {
				fail("%v at %d blamed on %s, sent at %d; true are %q", p.Event.Kind, p.Event.Time, from.Sender.Name, from.Time, m.senders[p.Event.Time])
			}
		}
	}
	for _, share := range s.Shares() {
		m.given[share.CPU] += share.Kernel + share.Waited
		if share.Kernel < 0 || share.Waited < 0 {
			fail("took %+v", share)
		}
	}
	m.given[s.CPU] += max(0, s.Quiet)
	t := m.owner(s)
	if t == nil {
		fail("of nobody, or of two threads")
		return
	}
	kept := t.spent(s.Start, s.End, inKernel, ready, byForce)
	switch {
	case s.Start < m.ends[s.TID]:
		fail("begins before %d", m.ends[s.TID])
	case s.Duration() < 0 || s.Waited < 0 || s.Gap < 0:
		fail("negative")
	case s.Duration() > kept:
		fail("kept for %d at most", kept)
	case s.Exact && (s.Duration() != kept || t.spent(s.Start, s.End, inUser) > 0):
		fail("kept for %d and in user mode for %d exactly", kept, t.spent(s.Start, s.End, inUser))
	case m.tracked(s.CPU) && s.Quiet > 0 && t.spent(s.Start-s.Quiet, s.Start, inUser) != s.Quiet:
		fail("in user mode for %d before it", t.spent(s.Start-s.Quiet, s.Start, inUser))
	}
	m.ends[s.TID] = s.End
	if s.Exact {
		m.exact++
	} else if s.Duration() > 0 {
		m.bounds++
	}
}

func (m *machine) finish() {
	m.hand()
	m.hand()
	for _, open := range m.builder.Finish() {
		m.given[open.CPU] += m.now - open.Since
		last := m.byNumber[open.TID][len(m.byNumber[open.TID])-1]
		if m.tracked(open.CPU) && (last.mode != inUser || last.since > open.Since) {
			m.t.Errorf("%+v said to be in user mode, which it entered at %d", open, last.since)
		}
	}
	for cpu, n := range m.builder.Unrecorded() {
		m.t.Errorf("CPU %d: %d switches said not to be recorded: all were, or counted as lost", cpu, n)
	}
	for cpu, d := range m.given {
		if d > m.now {
			m.t.Errorf("CPU %d: %v given away, of %v", cpu, d, m.now)
		}
	}
}

func runMachine(t *testing.T, seed uint64, steps int) *machine {
	m := newMachine(t, seed)
	for range steps {
		m.step(m.IntN(machineCPUs))
		if m.IntN(100) == 0 {
			m.hand()
		}
	}
	m.finish()
	if t.Failed() {
		t.Logf("seed %d, everywhere %v, loss rate %d, miss rate %d", seed, m.everywhere, m.lossRate, m.missRate)
	}
	return m
}

var machines = flag.Int("machines", 300, "simulated machines to run")

func TestTruth(t *testing.T) {
	var origins, exact, bounds int
	for seed := range uint64(*machines) {
		m := runMachine(t, seed, 3000)
		origins, exact, bounds = origins+m.origins, exact+m.exact, bounds+m.bounds
		if t.Failed() {
			break
		}
	}
	t.Logf("%d origins, %d exact stays, %d lower bounds", origins, exact, bounds)
	if least := 50 * *machines; origins < least || exact < least || bounds < least {
		t.Error("too few to tell anything")
	}
}

func FuzzTruth(f *testing.F) {
	f.Add(uint64(1), uint16(1000))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) { runMachine(t, seed, int(steps)) })
}
