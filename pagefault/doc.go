// SPDX-License-Identifier: Apache-2.0

// Package pagefault reports page faults to a program: its own, and those of
// other programs of the same user.
//
// A page fault that the kernel resolves costs the thread microseconds, or
// milliseconds if something has to be read first, and nothing notifies the thread.
// This package does:
//
//   - [Watch] returns a record of each fault: address, instruction, thread,
//     time, minor or major, and the mapping that was hit.
//   - [Count] only counts, which costs least.
//   - [NotifyOn] lets a thread declare "from now on I expect none" and get a signal
//     of its choice with the next one.
//   - [Prefault] removes the reasons beforehand and reports where it could not.
//   - [ExpectNone] and [ExpectSome] mark the stretch that matters, for a program that
//     watches from outside.
//
// C programs have the same in include/taskiso/pagefault.h, and with it a
// handler that runs in the thread, at the instruction that faulted. Go programs
// cannot have that: the Go runtime ends the program with SIGTRAP, see [NotifyOn].
//
// # What is a fault here
//
// A page fault that the kernel resolved, once for each, however often the
// kernel had to try. It is major if something had to be read: pages from a disk or
// from swap. Pages that a userfaultfd handler provides are major on older kernels and
// minor on those with locks per mapping; [Options].Durations shows the wait. A thread that is signalled while
// it waits for a page repeats the access afterwards, which may find the page there:
// a minor fault then.
// Accesses that end in SIGSEGV or SIGBUS are not reported, nor are those that
// the kernel resolves without notifying perf: pages it touches on a program's
// behalf with get_user_pages, as mlock, MADV_POPULATE_WRITE, io_uring and
// direct I/O do. This is what mm_account_fault in the kernel's mm/memory.c counts
// as PERF_COUNT_SW_PAGE_FAULTS_MIN and _MAJ (perf_event_open(2)).
//
// Faults taken in kernel mode, when a system call writes to a buffer that was
// never touched, are left out unless [Options].KernelMode asks for them.
//
// # Privileges
//
// None for one's own processes as long as the sysctl kernel.perf_event_paranoid
// is 2 or less; Debian's default is 3, and the text of [ErrNotPermitted] names it. Faults in
// kernel mode need 1 or less. CAP_PERFMON lifts both, CAP_SYS_PTRACE the limit to
// own processes.
//
// # Cost
//
// While no program is watched nobody pays anything: the kernel skips software
// events that nobody uses with a static branch. While one is, or a watch is paused, each fault
// of every program takes some 60 ns more, and one that is recorded several hundred;
// docs/benchmarks-pagefault.md has figures, also of each field and option.
//
// # Units and time
//
// Times are of CLOCK_MONOTONIC as this process reads it, also in a time namespace. Addresses are virtual
// addresses of the watched process, exact to the byte, except on arm64 with older
// kernels, which give the start of the page (addr & PAGE_MASK in arch/arm64/mm/fault.c).
package pagefault
