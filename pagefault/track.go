// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// tracker knows, from records in the order of time, what processes look like:
// their mappings, the names of their threads, and which threads expect no faults.
type tracker struct {
	spaces  map[int]*process
	names   map[int]string     // by thread
	marked  map[int]bool       // by thread
	begun   map[int]unfinished // by thread
	covered map[int]bool       // threads that have our events: they made a record, or their creator did
	owners  map[uint64]int     // by number of the event, where samples have it: the thread it was opened for
	last    map[int]sample     // by thread: the first one of its last fault
	twice   [kinds]uint64      // samples of faults that came by other events as well
	read    func(int) (space, error)
	now     func() time.Duration
}

// process is what is known of the mappings of one process.
type process struct {
	space space
	since time.Duration // when space was read: older records are in it already
	tried time.Duration // when it was last tried to read it
}

// unfinished is a fault whose handler has begun.
type unfinished struct {
	at      time.Duration
	address uint64
}

// sample is what shows whether another one is of the same fault.
type sample struct {
	fault       kind
	address, ip uint64
	time        time.Duration
	owner       int // of the event; 0 if it is none of ours
}

func (s sample) isSame(other sample) bool {
	if s.fault != other.fault || s.address != other.address || s.ip != other.ip {
		return false
	}
	return s.time == other.time || s.owner != other.owner && s.owner != 0 && other.owner != 0
}

func newTracker() *tracker {
	return &tracker{
		spaces:  make(map[int]*process),
		names:   make(map[int]string),
		marked:  make(map[int]bool),
		begun:   make(map[int]unfinished),
		last:    make(map[int]sample),
		covered: make(map[int]bool),
		read:    readSpace,
		now:     clock.Here,
	}
}

// take takes in a record. It returns a fault if the record is the end of one.
func (t *tracker) take(rec *record) (Fault, bool) {
	t.covered[rec.tid] = true
	switch rec.kind {
	case unix.PERF_RECORD_MMAP2:
		t.mapped(rec)
	case unix.PERF_RECORD_COMM:
		t.names[rec.tid] = rec.name
		if rec.exec {
			delete(t.spaces, rec.pid)
			t.spaces[rec.pid] = &process{} // the new mappings are in records to come
		}
	case unix.PERF_RECORD_FORK:
		t.forked(rec)
	case unix.PERF_RECORD_EXIT:
		t.exited(rec)
	case unix.PERF_RECORD_SAMPLE:
		return t.sampled(rec)
	}
	return Fault{}, false
}

func (t *tracker) mapped(rec *record) {
	if mark, ok := markOf(rec.mapping.Name); ok {
		t.marked[rec.tid] = mark
		return
	}
	if p := t.process(rec.pid); rec.time > p.since {
		p.space = p.space.put(rec.mapping)
	}
}

func (t *tracker) forked(rec *record) {
	if name, ok := t.names[rec.creator]; ok {
		t.names[rec.tid] = name
	}
	if rec.pid != rec.parent {
		t.spaces[rec.pid] = &process{space: slices.Clone(t.process(rec.parent).space)}
	}
}

func (t *tracker) exited(rec *record) {
	delete(t.names, rec.tid)
	delete(t.marked, rec.tid)
	delete(t.begun, rec.tid)
	delete(t.last, rec.tid)
	delete(t.covered, rec.tid)
	if rec.pid == rec.tid {
		delete(t.spaces, rec.pid)
	}
}

func (t *tracker) sampled(rec *record) (Fault, bool) {
	if t.isSecond(rec) {
		t.twice[rec.fault]++
		return Fault{}, false
	}
	if rec.fault == entry {
		t.begun[rec.tid] = unfinished{rec.time, rec.address}
		return Fault{}, false
	}
	f := Fault{
		Time: rec.time, PID: rec.pid, TID: rec.tid, Thread: t.name(rec.pid, rec.tid), Address: rec.address, IP: rec.ip,
		Major: rec.fault == major, Kernel: rec.kernel, Marked: t.marked[rec.tid],
	}
	if begin, ok := t.begun[rec.tid]; ok && begin.isOf(rec.address) {
		f.Duration, f.Address = rec.time-begin.at, begin.address
	}
	delete(t.begun, rec.tid)
	f.Mapping = t.find(rec.pid, rec.address)
	if !rec.kernel {
		f.Code = t.find(rec.pid, rec.ip)
	}
	for _, ip := range rec.stack {
		m, _ := t.process(rec.pid).space.find(ip) // not looked for: without frame pointers it may be anything
		f.Stack = append(f.Stack, Frame{ip, m})
	}
	if isOnStack(f.Mapping, rec.address, rec.sp) {
		f.Mapping.Kind = Stack
	}
	return f, true
}

// isSecond finds further samples of the same fault. A thread that was created while
// its process was being attached to can have events of its own and inherited
// ones, and pass both on to threads it creates. Their samples come one after the
// other. On some kernels they differ in the event, on others they are equal in time
// and event (see [layout.sampleType]). A page that goes and is faulted in again by the
// same instruction differs in time and has the same event.
func (t *tracker) isSecond(rec *record) bool {
	this := sample{rec.fault, rec.address, rec.ip, rec.time, t.owners[rec.id]}
	if before, ok := t.last[rec.tid]; ok && this.isSame(before) {
		return true
	}
	t.last[rec.tid] = this
	return false
}

// isOf reports whether the fault at address is the one that has begun: on arm64
// with older kernels one of them is the start of the page.
func (u unfinished) isOf(address uint64) bool {
	page := uint64(os.Getpagesize())
	return u.address == address || u.address-u.address%page == address
}

// isOnStack reports whether an address is on the part of a stack that is in use:
// no further below the stack pointer than the ABI lets a function write, and not
// further above than frames usually are. The mapping of a main thread's stack is
// unknown if the process ended before it was looked for.
func isOnStack(m Mapping, address, sp uint64) bool {
	const below, above = 4096, 64 << 10
	within := m.Kind == Anonymous && m.Start <= sp && sp <= m.End
	return sp != 0 && (within || m.Kind == Unknown) && address+below >= sp && address < sp+above
}

func (t *tracker) name(pid, tid int) string {
	if name, ok := t.names[tid]; ok {
		return name
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/comm", pid, tid)) // empty if it is gone
	t.names[tid] = strings.TrimSuffix(string(b), "\n")
	return t.names[tid]
}

// process returns what is known of a process, at first what it looks like now.
func (t *tracker) process(pid int) *process {
	p, ok := t.spaces[pid]
	if !ok {
		p = &process{}
		t.spaces[pid] = p
		t.reread(pid, p)
	}
	return p
}

func (t *tracker) reread(pid int, p *process) {
	at := t.now()
	p.tried = at
	if s, err := t.read(pid); err == nil && len(s) > 0 {
		p.space, p.since = s, at
	}
}

// find returns the mapping of an address. The kernel does not report mappings
// that mremap(2) moves; they are looked up when they are missed.
func (t *tracker) find(pid int, address uint64) Mapping {
	p := t.process(pid)
	m, ok := p.space.find(address)
	if ok || t.now()-p.tried < rereadInterval {
		return m
	}
	t.reread(pid, p)
	m, _ = p.space.find(address)
	return m
}

// rereadInterval bounds what addresses cost that are nowhere to be found.
const rereadInterval = 100 * time.Millisecond

// forget lets mappings be read anew: changes may have been missed.
func (t *tracker) forget() { clear(t.spaces) }

// markOf returns what a mapping of this name declares about future faults.
func markOf(name string) (marked, ok bool) {
	name, _ = strings.CutSuffix(name, " (deleted)")
	switch name {
	case "/memfd:" + expectNoneName:
		return true, true
	case "/memfd:" + expectSomeName:
		return false, true
	}
	return false, false
}
