// SPDX-License-Identifier: Apache-2.0

// Package taskiso lets a thread of a Go program be isolated: nothing interrupts
// it, and if something does, it knows at once what it was.
//
// The program has to be started by the command "taskiso run", on a machine with
// isolated CPUs:
//
//	GODEBUG=asyncpreemptoff=1 taskiso run -c 3 -- ./program
//
// The goroutine locks its thread, opens it, and enters:
//
//	runtime.LockOSThread()
//	t, err := taskiso.Open(3)
//	...
//	if err := t.Enter(ctx, 0); err != nil { ... }
//	for t.Isolated() {
//		work() // no system call, no allocation, no goroutine to wait for
//	}
//	s := t.Status() // what broke it
//
// Isolation begins when Enter returns nil. It ends with the first thing that
// interrupts the thread, a break: a system call or page fault of its own, an
// interrupt, another task, a signal; or with Leave.
//
// # Go itself breaks isolation
//
// Go's scheduler sends a signal to a thread that runs for more than 10 ms, about
// a hundred a second, unless GODEBUG=asyncpreemptoff=1. A garbage collection
// waits for every goroutine, and the isolated one then waits for it. [Problems]
// says which of these a program still has. Isolated tasks in C use
// include/taskiso/taskiso.h, which is the same interface.
package taskiso
