// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"fmt"
)

// Target is the process or thread that is watched.
type Target struct {
	id     int
	thread bool
}

// Process returns a target of all threads of process pid, also of those it will
// create later. 0 is the calling process.
func Process(pid int) Target { return Target{id: pid} }

// Thread returns a target of the one thread tid. 0 is the calling thread; lock
// the goroutine to it with [runtime.LockOSThread] beforehand.
func Thread(tid int) Target { return Target{id: tid, thread: true} }

func (t Target) String() string {
	if t.thread {
		return fmt.Sprintf("thread %d", t.id)
	}
	return fmt.Sprintf("process %d", t.id)
}

// Range is the addresses from Start up to, but without, End.
type Range struct{ Start, End uint64 }

func (r Range) contains(a uint64) bool { return r.Start <= a && a < r.End }

// Options select faults, and the facts about them. The zero value is every fault in
// user mode, from now on.
type Options struct {
	MajorOnly  bool    // leave out minor faults; they cost nothing then
	KernelMode bool    // also faults taken in system calls
	Ranges     []Range // only faults at these addresses; empty: all
	Children   bool    // also processes that the target creates
	Stack      bool    // with the user stack
	Durations  bool    // with the time spent; costs half as much again
	// ThreadStacks distinguishes the stacks of threads from other memory without a file,
	// by the stack pointer. The stack of the main thread is always known.
	ThreadStacks bool

	MaxPerSecond int  // report at most so many; 0: no limit
	Once         bool // only the first
	Paused       bool // begin with Resume
	OnExec       bool // begin when the target executes a program; for a child before exec

	// Buffer is the size of the buffer between kernel and reader in bytes, for
	// each CPU and 64 threads, rounded up to a power of two of pages. With 0 the first one
	// is 512 KiB, or less where the sysctl kernel.perf_event_mlock_kb does not allow that
	// much, and further ones, as far as allowed, are 64 KiB.
	Buffer int
}

// defaultBuffer holds 5,000 faults or more, which at a million faults per second
// is as much as comes between two looks.
const defaultBuffer = 512 << 10

const furtherBuffer = 64 << 10

func (o *Options) validate() error {
	for _, r := range o.Ranges {
		if r.Start >= r.End {
			return fmt.Errorf("watching addresses %#x to %#x: %w", r.Start, r.End, ErrEmptyRange)
		}
	}
	if o.MaxPerSecond < 0 || o.Buffer < 0 {
		return fmt.Errorf("watching with at most %d faults per second and a buffer of %d bytes: %w",
			o.MaxPerSecond, o.Buffer, errNegative)
	}
	return nil
}

func (o *Options) wants(address uint64) bool {
	for _, r := range o.Ranges {
		if r.contains(address) {
			return true
		}
	}
	return len(o.Ranges) == 0
}
