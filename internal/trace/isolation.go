// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/abi"
)

// StatusSlots is how many threads can have a status page at a time: STATUS_SLOTS of
// bpf/isolation.h.
const StatusSlots = 256

// Isolation is the task side of a tracer. Its methods are safe for concurrent
// use, but for two at a time that concern the same CPU, thread or slot.
type Isolation struct {
	cpus    *ebpf.Memory
	slots   *ebpf.Map
	pages   *ebpf.Map
	threads *ebpf.Map
	unwatch *ebpf.Program
	arm     *ebpf.Program
	state   *ebpf.Memory // the pages, to read
	used    atomic.Int64 // the first so many slots may have been given
	// NoFaults is the reason why those do not show; nil if they do. Where context tracking does not show
	// them either, a page fault is a break before it is known whether it causes a signal.
	NoFaults error
}

// Isolation returns the task side, or nil if Config did not ask for it.
func (t *Tracer) Isolation() *Isolation { return t.isolation }

func (t *Tracer) openIsolation() error {
	pages := t.coll.Maps["pages"]
	if err := pages.Freeze(); err != nil {
		return fmt.Errorf("making the status pages read-only: %w", err)
	}
	state, err := pages.Memory()
	if err != nil {
		return fmt.Errorf("mapping the status pages: %w", err)
	}
	t.isolation = &Isolation{
		cpus: t.state, slots: t.coll.Maps["slots"], pages: pages, threads: t.coll.Maps["threads"], state: state,
		unwatch: t.coll.Programs["unwatch"], arm: t.coll.Programs["arm"],
	}
	return nil
}

// close notifies all threads that nothing watches them any more.
func (i *Isolation) close() error {
	if _, err := i.unwatch.Run(&ebpf.RunOptions{}); err != nil {
		return fmt.Errorf("ending isolation: %w", err)
	}
	return nil
}

// Pages returns the descriptor of the file that has the status page of slot n at
// offset n*[abi.PageSize]. It can be mapped for reading only, and belongs to the tracer.
func (i *Isolation) Pages() int { return i.pages.FD() }

// Assign gives a thread the status page of a slot, from its next call on.
func (i *Isolation) Assign(tid uint32, slot int) error {
	if err := i.slots.Put(tid, uint32(slot)); err != nil {
		return fmt.Errorf("giving thread %d status page %d: %w", tid, slot, err)
	}
	i.used.Store(max(i.used.Load(), int64(slot)+1))
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

// Occupant returns the slot of the thread that is isolated on a CPU, also if it
// sleeps there in a call that asks.
func (i *Isolation) Occupant(cpu int) (slot int, ok bool) {
	if n := i.cpu32(cpu, unsafe.Offsetof(bpfCpuState{}.Isolated)); n != 0 {
		return int(n) - 1, true
	}
	for slot := range int(i.used.Load()) {
		if i.page32(slot, unsafe.Offsetof(bpfStatus{}.Isolated)) != 0 && int(i.page32(slot, unsafe.Offsetof(bpfStatus{}.Cpu))) == cpu {
			return slot, true
		}
	}
	return 0, false
}

// Ahead returns by how much the clock that the thread of a slot reads was ahead of the kernel's when it was isolated last: the
// times on its status page are of that clock.
func (i *Isolation) Ahead(slot int) time.Duration {
	var th bpfIsolated
	if err := i.threads.Lookup(uint32(slot), &th); err != nil {
		return 0 // no such slot
	}
	return time.Duration(th.Ahead)
}

func (i *Isolation) page32(slot int, field uintptr) uint32 {
	var b [4]byte
	if _, err := i.state.ReadAt(b[:], int64(slot*abi.PageSize)+int64(field)); err != nil {
		return 0 // no such slot
	}
	return binary.NativeEndian.Uint32(b[:])
}

// Idle reports whether no task runs on a CPU.
func (i *Isolation) Idle(cpu int) bool {
	return i.cpu32(cpu, unsafe.Offsetof(bpfCpuState{}.Idle)) != 0
}

// Disturbed returns the time (CLOCK_MONOTONIC) and the cause of the last
// interruption of a CPU that the watched tasks did not cause themselves.
func (i *Isolation) Disturbed(cpu int) (time.Duration, taskiso.Cause) {
	var b [8]byte
	if _, err := i.cpus.ReadAt(b[:], int64(cpu*cpuStateSize)+int64(unsafe.Offsetof(bpfCpuState{}.Disturbed))); err != nil {
		return 0, 0 // no such CPU
	}
	return time.Duration(binary.NativeEndian.Uint64(b[:])), taskiso.Cause(i.cpu32(cpu, unsafe.Offsetof(bpfCpuState{}.DisturbedBy)))
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

// Arm isolates a thread that has not asked for it, if it runs on a CPU in this
// moment, and reports whether it did. A break sends the signal, if it is not 0; but
// if the thread was just leaving the CPU, the Broken event shows another thread, and the
// caller is to send it.
func (i *Isolation) Arm(cpu int, tid uint32, slot int, signal uint32) (bool, error) {
	i.used.Store(max(i.used.Load(), int64(slot)+1))
	code, err := i.arm.Run(&ebpf.RunOptions{Context: struct{ CPU, TID, Slot, Signal uint32 }{uint32(cpu), tid, uint32(slot), signal}})
	if err != nil {
		return false, fmt.Errorf("isolating thread %d on CPU %d: %w", tid, cpu, err)
	}
	return code == 0, nil
}
