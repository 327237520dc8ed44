// SPDX-License-Identifier: Apache-2.0

// Package taskiso lets a thread of a Go program be isolated: nothing interrupts
// it, and if something does, it knows at once what it was.
//
// The program has to be started by the command "taskiso run", on a machine with
// isolated CPUs:
//
//	GODEBUG=asyncpreemptoff=1 taskiso run -c 3 --start-on 0-1 -- ./program
//
// so that CPU 3 is observed, and all threads but the one that moves there stay
// on CPUs 0 and 1.
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
// Go's scheduler wants a goroutine that ran for 10 ms to yield. It sends a signal,
// about a hundred a second, unless GODEBUG=asyncpreemptoff=1. It also has every
// function that is not inlined, and not marked go:nosplit, yield at its beginning:
// an isolated loop of more than 10 ms must not call any. A garbage collection
// waits for every goroutine, and the isolated one then waits for it. [Problems]
// lists the settings of a program that are wrong. Isolated tasks in C use
// include/taskiso/taskiso.h, which is the same interface.
package taskiso
