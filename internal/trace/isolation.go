// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// BreakCause says what ended isolation, as the task's status page has it. The
// numbers are those of enum break_cause in bpf/isolation.h and of
// include/taskiso/taskiso.h, a contract.
type BreakCause uint32

// Causes of the end of isolation.
const (
	_              BreakCause = iota
	BreakSyscall              // detail: number
	BreakPageFault            // detail: address
	BreakTimer                // detail of all interrupt vectors: vector
	BreakReschedule
	BreakCall
	BreakIRQWork
	BreakVector
	BreakIRQ // detail: irq number
	BreakNMI
	BreakTask   // detail: thread that ran instead
	BreakSignal // detail: signal
	BreakMoved  // not where it was to be isolated; detail: CPU
	BreakUnnamed
	BreakUnwatched // taskiso has ended
)

var breakCauses = [...]string{
	"none", "system call", "page fault", "timer interrupt", "rescheduling interrupt", "function-call interrupt",
	"irq_work", "interrupt vector", "device interrupt", "NMI", "another task", "signal", "moved", "unnamed", "unwatched",
}

func (c BreakCause) String() string {
	if int(c) < len(breakCauses) {
		return breakCauses[c]
	}
	return fmt.Sprintf("cause %d", uint32(c))
}

// StatusSlots is how many threads can have a status page at a time, and
// StatusSize how large one is, in bytes: STATUS_SLOTS and STATUS_SIZE of
// bpf/isolation.h.
const (
	StatusSlots = 256
	StatusSize  = 4096
)

// Layout of what user space writes into a status page.
const (
	storySeqOffset  = 64
	storyOfOffset   = 72
	storyIDOffset   = 80
	storyTextOffset = 144
	storyIDSize     = storyTextOffset - storyIDOffset
	storyTextSize   = 1024
)

// Isolation is the task side of a tracer. Its methods are safe for concurrent
// use, but for two at a time that concern the same CPU, thread or slot.
type Isolation struct {
	cpus  *ebpf.Memory
	slots *ebpf.Map
	pages *ebpf.Map
	bytes []byte // of all status pages
}

// Isolation returns the task side, or nil if Config did not ask for it.
func (t *Tracer) Isolation() *Isolation { return t.isolation }

func (t *Tracer) openIsolation() error {
	pages := t.coll.Maps["pages"]
	bytes, err := unix.Mmap(pages.FD(), 0, StatusSlots*StatusSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping the status pages: %w", err)
	}
	t.isolation = &Isolation{cpus: t.state, slots: t.coll.Maps["slots"], pages: pages, bytes: bytes}
	for slot := range StatusSlots {
		t.isolation.store32(slot, unsafe.Offsetof(bpfStatus{}.Version), statusVersion)
	}
	return nil
}

// statusVersion is STATUS_VERSION of bpf/isolation.h.
const statusVersion = 1

// close tells all threads that nobody watches them any more.
func (i *Isolation) close() error {
	for slot := range StatusSlots {
		if i.word(slot, unsafe.Offsetof(bpfStatus{}.Isolated)).Swap(0) != 0 {
			i.store32(slot, unsafe.Offsetof(bpfStatus{}.Cause), uint32(BreakUnwatched))
		}
	}
	return unix.Munmap(i.bytes)
}

func (i *Isolation) word(slot int, offset uintptr) *atomic.Uint32 {
	return (*atomic.Uint32)(unsafe.Pointer(&i.bytes[uintptr(slot)*StatusSize+offset]))
}

func (i *Isolation) store32(slot int, offset uintptr, v uint32) { i.word(slot, offset).Store(v) }

// Pages returns a descriptor of the file that has the status page of slot n at
// offset n*StatusSize. It can be mapped for reading only.
func (i *Isolation) Pages() (int, error) {
	info, err := i.pages.Info()
	if err != nil {
		return -1, fmt.Errorf("looking up the status pages: %w", err)
	}
	id, ok := info.ID()
	if !ok {
		return -1, fmt.Errorf("looking up the status pages: %w", ebpf.ErrNotSupported)
	}
	// union bpf_attr of include/uapi/linux/bpf.h; the library cannot ask for
	// less than full access by number.
	attr := struct{ id, next, flags uint32 }{uint32(id), 0, unix.BPF_F_RDONLY}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_GET_FD_BY_ID, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return -1, fmt.Errorf("opening the status pages for reading: %w", errno)
	}
	return int(fd), nil
}

// Assign gives a thread the status page of a slot, empty.
func (i *Isolation) Assign(tid uint32, slot int) error {
	clear(i.bytes[slot*StatusSize+8 : (slot+1)*StatusSize])
	i.store32(slot, unsafe.Offsetof(bpfStatus{}.Tid), tid)
	if err := i.slots.Put(tid, uint32(slot)); err != nil {
		return fmt.Errorf("giving thread %d status page %d: %w", tid, slot, err)
	}
	return nil
}

// Release takes the page away from a thread that has ended.
func (i *Isolation) Release(tid uint32) error {
	if err := i.slots.Delete(tid); err != nil {
		return fmt.Errorf("taking its status page from thread %d: %w", tid, err)
	}
	return nil
}

// Grant lets a thread be isolated on a CPU at the end of the call that it is in.
// It is to be followed by the answer to that call, or by Withdraw.
func (i *Isolation) Grant(cpu int, tid uint32) { i.answer(cpu, tid, 1) }

// Answer announces that a thread will be woken on a CPU with the answer to its
// call, so that this does not count as a disturbance. See Grant.
func (i *Isolation) Answer(cpu int, tid uint32) { i.answer(cpu, tid, 0) }

func (i *Isolation) answer(cpu int, tid, granted uint32) {
	i.setCPU(cpu, unsafe.Offsetof(bpfCpuState{}.Granted), granted)
	i.setCPU(cpu, unsafe.Offsetof(bpfCpuState{}.Answered), tid)
}

// Withdraw takes back a Grant or Answer that did not reach the thread.
func (i *Isolation) Withdraw(cpu int) { i.answer(cpu, 0, 0) }

// Answered returns the thread that has not yet come back from its call on a CPU
// after a Grant or an Answer, or 0.
func (i *Isolation) Answered(cpu int) uint32 {
	return i.cpu32(cpu, unsafe.Offsetof(bpfCpuState{}.Answered))
}

// Occupant returns the slot of the thread that is isolated on a CPU.
func (i *Isolation) Occupant(cpu int) (slot int, ok bool) {
	for _, field := range []uintptr{unsafe.Offsetof(bpfCpuState{}.Isolated), unsafe.Offsetof(bpfCpuState{}.Paused)} {
		if n := i.cpu32(cpu, field); n != 0 {
			return int(n) - 1, true
		}
	}
	return 0, false
}

// Disturbed returns when (CLOCK_MONOTONIC) and by what a CPU was last
// interrupted, other than by the doing of the watched tasks themselves.
func (i *Isolation) Disturbed(cpu int) (time.Duration, BreakCause) {
	var b [8]byte
	if _, err := i.cpus.ReadAt(b[:], int64(cpu*cpuStateSize)+int64(unsafe.Offsetof(bpfCpuState{}.Disturbed))); err != nil {
		return 0, 0 // no such CPU
	}
	return time.Duration(binary.NativeEndian.Uint64(b[:])), BreakCause(i.cpu32(cpu, unsafe.Offsetof(bpfCpuState{}.DisturbedBy)))
}

func (i *Isolation) cpu32(cpu int, field uintptr) uint32 {
	var b [4]byte
	if _, err := i.cpus.ReadAt(b[:], int64(cpu*cpuStateSize)+int64(field)); err != nil {
		return 0 // no such CPU
	}
	return binary.NativeEndian.Uint32(b[:])
}

func (i *Isolation) setCPU(cpu int, field uintptr, v uint32) {
	// It fails only for a CPU that is not there, on which no thread can be.
	i.cpus.WriteAt(binary.NativeEndian.AppendUint32(nil, v), int64(cpu*cpuStateSize)+int64(field))
}

// Tell writes into a status page what is known by now of its break number n:
// the cause's id in the catalogue, and a text for people.
func (i *Isolation) Tell(slot int, n uint64, id, text string) {
	seq := i.word(slot, storySeqOffset)
	page := i.bytes[slot*StatusSize : (slot+1)*StatusSize]
	seq.Add(1)
	binary.NativeEndian.PutUint64(page[storyOfOffset:], n)
	putString(page[storyIDOffset:storyIDOffset+storyIDSize], id)
	putString(page[storyTextOffset:storyTextOffset+storyTextSize], text)
	seq.Add(1)
}

// Breaks returns how many breaks a status page counts.
func (i *Isolation) Breaks(slot int) uint64 {
	at := uintptr(slot)*StatusSize + unsafe.Offsetof(bpfStatus{}.Breaks)
	return (*atomic.Uint64)(unsafe.Pointer(&i.bytes[at])).Load()
}

// putString writes s with a NUL at its end, shortened if need be.
func putString(b []byte, s string) {
	n := copy(b[:len(b)-1], s)
	clear(b[n:])
}
