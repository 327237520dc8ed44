// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/hold/operation"
)

// Records of a chunk of events. Each begins with a byte: one of these, or firstKind and the kind of an event.
const (
	tagBatch    = 1 // the end of a batch
	tagBegin    = 2 // when the observation begins
	tagFound    = 3 // a thread that was in user mode
	tagTask     = 4 // what tasks, stacks and senders are, before the first event that has them
	tagStack    = 5
	tagSender   = 6
	tagFunction = 7 // what kernel functions and system calls are called
	tagSyscall  = 8
	tagLoopGap  = 9  // a busy loop did not run
	tagHeld     = 10 // an operation was held
	firstKind   = 16
)

// Fields of an event that differ from the event before of the same kind.
const (
	hasFlags = 1 << iota
	hasCPU
	hasTID
	hasUserIP
	hasA
	hasB
	hasC
	hasRef // a task or a sender
)

// Flags of an event.
const (
	flagWatched = 1 << iota
	flagThrottled
	flagFrozen
	flagConditional
	flagShown
	flagTask   // it names a task, whose number of switches follows
	flagSender // it names a sender
)

// Flags of a task.
const (
	taskKernel = 1 << iota
	taskWatched
)

// Names resolves what events carry as numbers.
type Names interface {
	Function(addr uint64) string
	Syscall(number int) string
}

// last is the last event of a kind in a chunk.
type last struct {
	flags   byte
	cpu     int
	tid     uint32
	userIP  uint64
	a, b, c uint64
	ref     int // number of the task or sender that it names
}

// tables number what events of a chunk name. Both sides build them alike.
type tables struct {
	kinds [256]last
	time  time.Duration
	loop  time.Duration // of the last gap of a loop
	room  room
}

// task is what tells tasks apart.
type task struct {
	tid, pid uint32
	name     string
	flags    byte
	born     time.Duration
}

// sender is what tells senders apart.
type sender struct {
	pid    uint32
	name   string
	cgroup uint64
	stack  int // its number
}

// encoder writes the records of one chunk after the other.
type encoder struct {
	names Names
	buf   []byte

	tables
	from      time.Duration // when the chunk begins: the end of the batch before
	begun     time.Duration // when the observation begins, if that is known; else 0
	events    uint32
	tasks     map[task]int
	switches  []uint64 // by task, of the last event that named it
	stacks    map[string]int
	senders   map[sender]int
	functions map[uint64]bool
	syscalls  map[uint64]bool
	scratch   []byte
}

func newEncoder(names Names) *encoder {
	e := &encoder{names: names}
	e.reset(0)
	return e
}

// reset begins a new chunk, in which nothing of the one before is known.
func (e *encoder) reset(from time.Duration) {
	e.buf, e.tables, e.from, e.events = e.buf[:0], tables{time: from}, from, 0
	e.tasks, e.switches, e.stacks, e.senders = make(map[task]int), e.switches[:0], make(map[string]int), make(map[sender]int)
	e.functions, e.syscalls = make(map[uint64]bool), make(map[uint64]bool)
	if e.begun != 0 {
		e.begin(e.begun)
	}
}

// readable reports whether a reader takes the chunk.
func (e *encoder) readable() bool { return len(e.buf) <= maxContent && !e.room.full() }

// batch writes a batch: its events, and then its end.
func (e *encoder) batch(b event.Batch) {
	e.all(b.Events, math.MaxInt)
	e.end(b)
}

// all writes events until they have so many bytes, and returns how many it wrote.
func (e *encoder) all(events []event.Event, bytes int) int {
	begin := len(e.buf)
	for i := range events {
		if len(e.buf)-begin > bytes {
			return i
		}
		e.event(&events[i])
	}
	return len(events)
}

// end writes the end of a batch.
func (e *encoder) end(b event.Batch) {
	e.buf = append(e.buf, tagBatch)
	e.at(b.Until)
	e.flag(b.SendersMissed)
	e.uint(uint64(len(b.Lost)))
	for _, cpu := range sortedKeys(b.Lost) {
		e.uint(uint64(cpu))
		e.uint(b.Lost[cpu])
	}
}

func (e *encoder) begin(at time.Duration) {
	e.begun = at
	e.buf = append(e.buf, tagBegin)
	e.uint(uint64(at))
}

func (e *encoder) found(f Found) {
	e.buf = append(e.buf, tagFound)
	e.uint(uint64(f.CPU))
	e.uint(uint64(f.TID))
	e.uint(uint64(f.From))
	e.uint(uint64(f.At))
}

// loopGap writes a gap of a loop. Those of several loops are not in the order of their times.
func (e *encoder) loopGap(g LoopGap) {
	e.buf = append(e.buf, tagLoopGap)
	e.uint(uint64(g.CPU))
	e.delta(uint64(g.At), uint64(e.loop))
	e.uint(uint64(g.Length))
	e.loop = g.At
}

// held writes an operation as JSON. One that no reader takes is left out.
func (e *encoder) held(r operation.Record) {
	text, err := json.Marshal(r)
	if err != nil || len(text) > maxHeld {
		return
	}
	e.buf = append(e.buf, tagHeld)
	e.uint(uint64(len(text)))
	e.buf = append(e.buf, text...)
}

func (e *encoder) event(v *event.Event) {
	now := last{flags: flagsOf(v), cpu: v.CPU, tid: v.TID, userIP: v.UserIP, a: v.A, b: v.B, c: v.C}
	before := &e.kinds[v.Kind]
	switch {
	case v.Task != nil:
		now.ref = e.task(v.Task)
	case v.Sender != nil:
		now.ref = e.sender(v.Sender)
	}
	e.name(v)
	mask := now.differs(before)
	e.buf = append(e.buf, firstKind+byte(v.Kind), mask)
	e.at(v.Time)
	e.fields(mask, &now, before)
	if v.Task != nil {
		e.delta(v.Task.Switches, e.switches[now.ref])
		e.switches[now.ref] = v.Task.Switches
	}
	*before = now
	e.events++
}

func flagsOf(v *event.Event) byte {
	var flags byte
	set := func(on bool, flag byte) {
		if on {
			flags |= flag
		}
	}
	set(v.Watched, flagWatched)
	set(v.Throttled, flagThrottled)
	set(v.Frozen, flagFrozen)
	set(v.Task != nil, flagTask)
	set(v.Sender != nil, flagSender)
	if v.Sender != nil {
		set(v.Sender.Conditional, flagConditional)
		set(v.Sender.Shown, flagShown)
	}
	return flags
}

// differs returns which fields are not those of the event before.
func (l *last) differs(before *last) byte {
	var mask byte
	for i, different := range [...]bool{
		l.flags != before.flags, l.cpu != before.cpu, l.tid != before.tid, l.userIP != before.userIP,
		l.a != before.a, l.b != before.b, l.c != before.c, l.ref != before.ref,
	} {
		if different {
			mask |= 1 << i
		}
	}
	return mask
}

func (e *encoder) fields(mask byte, now, before *last) {
	if mask&hasFlags != 0 {
		e.buf = append(e.buf, now.flags)
	}
	if mask&hasCPU != 0 {
		e.uint(uint64(now.cpu))
	}
	if mask&hasTID != 0 {
		e.uint(uint64(now.tid))
	}
	if mask&hasUserIP != 0 {
		e.delta(now.userIP, before.userIP)
	}
	if mask&hasA != 0 {
		e.delta(now.a, before.a)
	}
	if mask&hasB != 0 {
		e.delta(now.b, before.b)
	}
	if mask&hasC != 0 {
		e.delta(now.c, before.c)
	}
	if mask&hasRef != 0 {
		e.uint(uint64(now.ref))
	}
}

// task returns the number of a task, which is defined if it is new.
func (e *encoder) task(t *event.Task) int {
	key := task{tid: t.TID, pid: t.PID, name: t.Name, born: t.Born}
	if t.Kernel {
		key.flags |= taskKernel
	}
	if t.Watched {
		key.flags |= taskWatched
	}
	if n, ok := e.tasks[key]; ok {
		return n
	}
	n := len(e.tasks)
	e.room.addNamed(len(key.name))
	e.tasks[key], e.switches = n, append(e.switches, 0)
	e.buf = append(e.buf, tagTask)
	e.uint(uint64(key.tid))
	e.uint(uint64(key.pid))
	e.text(key.name)
	e.buf = append(e.buf, key.flags)
	e.uint(uint64(key.born))
	return n
}

func (e *encoder) sender(s *event.Sender) int {
	key := sender{pid: s.PID, name: s.Name, cgroup: s.Cgroup, stack: e.stack(s.Stack)}
	if n, ok := e.senders[key]; ok {
		return n
	}
	n := len(e.senders)
	e.room.addNamed(len(key.name))
	e.senders[key] = n
	e.buf = append(e.buf, tagSender)
	e.uint(uint64(key.pid))
	e.text(key.name)
	e.uint(key.cgroup)
	e.uint(uint64(key.stack))
	return n
}

func (e *encoder) stack(addrs []uint64) int {
	text := e.scratch[:0]
	before := uint64(0)
	for _, addr := range addrs {
		text = binary.AppendVarint(text, int64(addr-before))
		before = addr
	}
	e.scratch = text
	if n, ok := e.stacks[string(text)]; ok {
		return n
	}
	for _, addr := range addrs {
		e.function(addr)
	}
	n := len(e.stacks)
	e.room.addStack(len(addrs))
	e.stacks[string(text)] = n
	e.buf = append(e.buf, tagStack)
	e.uint(uint64(len(addrs)))
	e.buf = append(e.buf, text...)
	return n
}

// name writes the names of what an event carries as numbers, once in a chunk.
func (e *encoder) name(v *event.Event) {
	switch v.Kind {
	case event.CSDEnter, event.CSDExit, event.HRTimer, event.Timer, event.Work, event.NMI:
		e.function(v.A)
	case event.SyscallEnter, event.SyscallExit:
		if !e.syscalls[v.A] {
			e.syscalls[v.A] = true
			e.named(tagSyscall, v.A, e.names.Syscall(int(v.A)))
		}
	case event.SendCall, event.SendSingle, event.SendCalls, event.SendWork, event.SendHRTimer, event.SendTimer:
		e.function(v.B)
	}
}

func (e *encoder) function(addr uint64) {
	if e.functions[addr] {
		return
	}
	e.functions[addr] = true
	if name := e.names.Function(addr); name != hexadecimal(addr) {
		e.named(tagFunction, addr, name)
	}
}

func (e *encoder) named(tag byte, number uint64, name string) {
	e.buf = append(e.buf, tag)
	e.uint(number)
	e.text(name)
}

// at writes a time as the distance from the time before, which is never later.
func (e *encoder) at(t time.Duration) {
	e.uint(uint64(t - e.time))
	e.time = t
}

func (e *encoder) delta(now, before uint64) { e.buf = binary.AppendVarint(e.buf, int64(now-before)) }
func (e *encoder) uint(n uint64)            { e.buf = binary.AppendUvarint(e.buf, n) }

func (e *encoder) text(s string) {
	s = s[:min(len(s), maxText)]
	e.uint(uint64(len(s)))
	e.buf = append(e.buf, s...)
}

func (e *encoder) flag(on bool) {
	if on {
		e.buf = append(e.buf, 1)
	} else {
		e.buf = append(e.buf, 0)
	}
}

func sortedKeys(lost map[int]uint64) []int {
	keys := make([]int, 0, len(lost))
	for cpu := range lost {
		keys = append(keys, cpu)
	}
	slices.Sort(keys)
	return keys
}
