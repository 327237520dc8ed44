// SPDX-License-Identifier: Apache-2.0

// Package deferral reaches a busy thread without interrupting it.
//
// A packet loop, an audio or control loop, a game loop must not be interrupted,
// and yet has to get messages: a new configuration, a new table, a request
// for statistics, to stop. With this package a message waits in memory until the
// thread catches up at a moment of its own choice, and the sender can know when
// it has arrived.
//
// # The two sides
//
// A [Domain] is a region of memory with slots. The thread that must not be
// interrupted attaches to one and becomes its owner. Its loop calls [Slot.Poll],
// which is one load, and [Slot.CatchUp] when it returns true. No method of
// the owner between Attach and Detach allocates, locks or makes a system call.
//
// Everybody else posts, from any goroutine and any process:
//
//   - [Domain.Post]: do work of a kind. Kinds coalesce; posting never fails for
//     lack of room.
//   - [Domain.Publish] and [Cell]: a new value of something, where only the
//     latest value matters.
//   - [Domain.Send] and [Queue]: a message, where each one matters; bounded, with
//     [ErrFull] when the owner does not keep up.
//   - [Domain.Synchronize]: a grace period. Memory that was made unreachable
//     before, no owner uses afterwards.
//   - [Domain.RunPinned]: act for an owner that is away, and keep it away.
//
// Post, Publish and Send return a [Ticket], with which the sender sees or waits
// for the arrival. None of them interrupts the owner or makes a system call in
// the usual case.
//
// # Online and offline
//
// Between [Slot.Enter] and [Slot.Exit] the owner is online: it may hold on to
// shared data from one catch-up to the next, and Synchronize waits for it.
// Outside it is offline, uses nothing shared, and is not waited for; Enter
// catches up before it returns. Exit first does what was already posted. So a
// request is never lost, and never late: a poster that found the owner online
// is served before the owner leaves.
//
// # Rules for handlers
//
// Handlers run in the owner's CatchUp, Enter, Exit and Detach. They must not
// block, must tolerate one call too many (after the death of an owner, all kinds
// are posted again), and must not call Enter, CatchUp, Exit or Detach.
//
// # Processes
//
// With [Options.Shared] the domain lies in a sealed memfd, whose layout is fixed
// and has a version (layout.go). Other Go programs [Open] it; C and C++ use
// include/taskiso/deferral.h. The kernel knows which processes are alive, through
// locks on the file. A thread that waits for an owner notices the owner's death, and
// the slot is free again; a poster that dies in the middle leaves no torn value and no
// held lock. Memory that is foreign, older, too small or damaged gives errors;
// a malicious peer can forge contents, and keep an owner waiting in Enter by a
// pin, but not make this side access memory outside of the domain.
//
// Death is that of a process: a thread that ends while its process goes on is
// not noticed. Peers need /proc, and write access to the file.
//
// # Why it is right
//
// The protocol is A'+B of docs/design/05-deferred-synchronisation.md. Each of
// its steps is one atomic operation, a function of its own in steps.go; tests
// run these functions in every possible order, without a bound on the number
// of operations, and notice every bug that is seeded into them.
//
// # Go programs as owners
//
// The Go runtime interrupts busy threads by signals unless a setting forbids it;
// [CheckRuntime] checks that. The recommended owner of a loop that must be quiet is
// a C, C++ or Rust thread.
package deferral
