// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/proc"
)

// canStop reports whether this process may stop others as a debugger does.
func canStop() error {
	const scope = "/proc/sys/kernel/yama/ptrace_scope"
	text, err := os.ReadFile(scope)
	if err == nil && strings.TrimSpace(string(text)) == "3" { // Documentation/admin-guide/LSM/Yama.rst: nobody may, until the next boot
		return fmt.Errorf("%s is 3, with which nobody may: %w", scope, os.ErrPermission)
	}
	return nil
}

// The functions below are to be called on one and the same OS thread: to the
// kernel, that thread is the tracer, and when it ends what it stopped goes on.

func ptrace(request, tid int, data uintptr) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, data, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// thread is one that a tracer stops.
type thread struct {
	event event
	files fs.FS
}

// takenOver bounds how long the tracer before this one may take to end.
const takenOver = 200 * time.Millisecond

// seize lets a thread stop where the program at the hook wants it, which shows in look. It
// does not interrupt it: not every system call goes on after that as if nothing had been.
//
// It waits while the thread's process executes a file, for ever if that is on a file
// system that does not answer: ptrace_attach() of kernel/ptrace.c takes cred_guard_mutex.
// It also waits for the end of another tracer of ours that had the thread.
func (t *thread) seize() error {
	for deadline := clock.Now() + takenOver; ; time.Sleep(lookAtMoving) {
		err := ptrace(unix.PTRACE_SEIZE, t.event.TID, 0)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EPERM) || clock.Now() > deadline || !t.isOurs() {
			return fmt.Errorf("tracing thread %d: %w", t.event.TID, err)
		}
	}
}

// isOurs reports whether this process traces the thread, or whoever was found to trace it does so no longer.
func (t *thread) isOurs() bool {
	tid := tracerOf(t.files, t.event.PID, t.event.TID)
	if tid == 0 {
		return true
	}
	if _, err := fs.Stat(t.files, fmt.Sprintf("proc/%d/task/%d", os.Getpid(), tid)); err == nil {
		return true
	}
	return tracerOf(t.files, t.event.PID, t.event.TID) != tid // ours, if it ended between the two
}

// listen lets a stopped thread stay so, and take part when a signal stops or continues its process.
func (t *thread) listen() error { return ordered("keeping", unix.PTRACE_LISTEN, t.event.TID, 0) }

// wake ends listen: the thread shows in look as stopped again.
func (t *thread) wake() error { return ordered("waking", unix.PTRACE_INTERRUPT, t.event.TID, 0) }

// drop lets a thread that is about to handle a signal do without it, and stop for us instead.
func (t *thread) drop() error {
	return errors.Join(t.wake(), ordered("continuing", unix.PTRACE_CONT, t.event.TID, 0))
}

// detach lets a stopped thread go on, with a signal if that is not 0.
func (t *thread) detach(signal unix.Signal) error {
	return ordered("letting go", unix.PTRACE_DETACH, t.event.TID, uintptr(signal))
}

// goOn lets a stopped thread go on, with a signal if that is not 0.
func (t *thread) goOn(signal unix.Signal) error {
	return ordered("continuing", unix.PTRACE_CONT, t.event.TID, uintptr(signal))
}

// toCall lets a stopped thread go on to the begin, or the end, of a system call, with a signal if that is not 0.
func (t *thread) toCall(signal unix.Signal) error {
	return ordered("continuing", unix.PTRACE_SYSCALL, t.event.TID, uintptr(signal))
}

func (t *thread) remake() error { return remake(t.event.TID, t.event.nr, t.event.args) }

// suspendSeccomp is PTRACE_O_SUSPEND_SECCOMP of include/uapi/linux/ptrace.h.
const suspendSeccomp = 1 << 21

// passFilters lets a stopped thread make its calls past its seccomp filters while it is traced.
func (t *thread) passFilters() bool {
	return hasFilter(t.files, t.event.PID, t.event.TID) &&
		ptrace(unix.PTRACE_SETOPTIONS, t.event.TID, suspendSeccomp|unix.PTRACE_O_TRACESYSGOOD) == nil
}

func (t *thread) isAtItsCall() bool { return isAt(t.event.TID, t.event.nr, t.event.args) }

func (t *thread) isFromHook(signal unix.Signal) bool {
	return isFromHook(t.files, t.event.PID, t.event.TID, signal)
}

func (t *thread) doesNothing(signal unix.Signal) bool {
	return signal != 0 && doesNothing(t.files, t.event.PID, t.event.TID, signal)
}

func (t *thread) hasSignal() bool { return hasSignal(t.files, t.event.PID, t.event.TID) }

func (t *thread) look() (place, unix.Signal, error) { return look(t.event.TID) }

func ordered(what string, request, tid int, data uintptr) error {
	if err := ptrace(request, tid, data); err != nil && !isGone(err) {
		return fmt.Errorf("%s thread %d: %w", what, tid, err)
	}
	return nil
}

// isGone reports whether a thread ended, or is being killed.
func isGone(err error) bool { return errors.Is(err, unix.ESRCH) }

// place is where a seized thread is.
type place int

const (
	runs     place = iota
	atStop         // for us
	atSignal       // it is about to handle a signal, or to be stopped by one
	atCall         // it begins or ends a system call
	atEnd
)

// eventStop is PTRACE_EVENT_STOP of include/uapi/linux/ptrace.h.
const eventStop = 128

// callStop is the signal of a stop at a system call with PTRACE_O_TRACESYSGOOD.
const callStop = unix.SIGTRAP | 0x80

// look returns where a thread is, if that has changed, and the signal it is about to handle.
func look(tid int) (place, unix.Signal, error) {
	var ws unix.WaitStatus
	n, err := unix.Wait4(tid, &ws, unix.WALL|unix.WNOHANG, nil)
	switch {
	case errors.Is(err, unix.ECHILD): // not ours any more
		return atEnd, 0, nil
	case errors.Is(err, unix.EINTR), err == nil && n == 0:
		return runs, 0, nil
	case err != nil:
		return runs, 0, fmt.Errorf("waiting for thread %d: %w", tid, err)
	case !ws.Stopped():
		return atEnd, 0, nil
	case ws.StopSignal() == callStop:
		return atCall, 0, nil
	case uint32(ws)>>16 != eventStop:
		return atSignal, ws.StopSignal(), nil
	case ws.StopSignal() != unix.SIGTRAP: // the whole process is stopped by a signal: it stays so without us
		return atSignal, 0, nil
	}
	return atStop, 0, nil
}

// fromKernel is SI_KERNEL of include/uapi/asm-generic/siginfo.h, which no process can send.
const fromKernel = 0x80

// isFromHook reports whether the signal that a thread is about to handle is the one by
// which the program at the hook stops it.
func isFromHook(files fs.FS, pid, tid int, signal unix.Signal) bool {
	if signal == 0 || ignoredByDefault&bit(signal) == 0 {
		return false
	}
	var info struct { // struct siginfo
		signal, errno, code int32
		_                   [116]byte
	}
	if err := ptrace(unix.PTRACE_GETSIGINFO, tid, uintptr(unsafe.Pointer(&info))); err != nil || info.code != fromKernel {
		return false
	}
	if signal == unix.SIGWINCH { // it may have a handler
		return true
	}
	status, err := proc.ReadStatus(files, proc.Thread(pid, tid))
	return err == nil && signalsOf(status, "SigCgt")&bit(signal) == 0
}

// signalsOf returns a set of signals of a thread, none if it is not shown.
func signalsOf(status proc.Status, set string) uint64 {
	mask, _ := status.Mask(set)
	return mask
}

// hasSignal reports whether a thread would handle a signal, or be ended by one, if it went on.
func hasSignal(files fs.FS, pid, tid int) bool {
	status, err := proc.ReadStatus(files, proc.Thread(pid, tid))
	if err != nil {
		return true // it ends
	}
	pending := signalsOf(status, "SigPnd") | signalsOf(status, "ShdPnd")
	return pending&^signalsOf(status, "SigBlk")&^ignoredBy(status) != 0
}

// doesNothing reports whether a thread that handles a signal does nothing with it. The kernel sends such a signal to a
// traced thread only.
func doesNothing(files fs.FS, pid, tid int, signal unix.Signal) bool {
	status, err := proc.ReadStatus(files, proc.Thread(pid, tid))
	return err == nil && ignoredBy(status)&bit(signal) != 0
}

// ignoredBy returns the signals that do nothing to a thread.
func ignoredBy(status proc.Status) uint64 {
	return signalsOf(status, "SigIgn") | ignoredByDefault&^signalsOf(status, "SigCgt")
}

// ignoredByDefault are signals that do nothing without a handler: SIG_KERNEL_IGNORE_MASK of include/linux/signal.h.
var ignoredByDefault = bit(unix.SIGCONT) | bit(unix.SIGCHLD) | bit(unix.SIGWINCH) | bit(unix.SIGURG)

func bit(s unix.Signal) uint64 { return 1 << (s - 1) }

// hasFilter reports whether a thread's system calls pass a seccomp filter.
func hasFilter(files fs.FS, pid, tid int) bool {
	status, err := proc.ReadStatus(files, proc.Thread(pid, tid))
	return err == nil && status.Value("Seccomp") == "2" // SECCOMP_MODE_FILTER
}

// life is the state and the start of a thread, which show whether it is alive and still the same.
type life struct{ state, start string }

// lifeOf reads them. Zero: the thread does not exist.
func lifeOf(files fs.FS, pid, tid int) life {
	stat, err := proc.ReadStat(files, proc.Thread(pid, tid))
	if err != nil {
		return life{}
	}
	return life{stat.State, stat.Start}
}

// sleeps reports whether the thread waits for something, neither on its way to it nor stopped.
func (l life) sleeps() bool { return l.state == "S" }

// hasEnded reports whether the thread that this was the life of is none any more.
func (l life) hasEnded(now life) bool {
	return now.start != l.start || now.state == "" || now.state == "Z" || now.state == "X"
}

// inCall reports whether a thread is in a system call. It may wait for ever: proc_pid_syscall()
// waits while the thread's process executes a file.
func inCall(files fs.FS, tid, nr int) bool {
	text, err := fs.ReadFile(files, fmt.Sprintf("proc/%d/syscall", tid))
	if err != nil {
		return false // it has ended
	}
	number, _, _ := strings.Cut(string(text), " ")
	return number == strconv.Itoa(nr) || strings.TrimSpace(number) == "running"
}

// maxWatchers bounds the goroutines of watch: a process can make one of them wait.
const maxWatchers = 64

// system is the threads of this machine.
type system struct {
	files    fs.FS
	watchers atomic.Int32
}

func (s *system) life(pid, tid int) life { return lifeOf(s.files, pid, tid) }

func (s *system) trace(e event, report func(how tracerState, err error)) stopper {
	t := newTracer(&thread{event: e, files: s.files})
	t.start(report)
	return t
}

// watch may wait for ever for the process (inCall). If too many do, the operation is at work for as long as it may.
func (s *system) watch(e event, limit time.Duration, ended func()) {
	if s.watchers.Load() >= maxWatchers {
		return
	}
	s.watchers.Add(1)
	go func() {
		defer s.watchers.Add(-1)
		for begin := clock.Now(); inCall(s.files, e.TID, e.nr) && clock.Now()-begin < limit; {
			time.Sleep(lookAtThreads)
		}
		ended()
	}()
}

// tracerOf returns the thread that traces another, or 0.
func tracerOf(files fs.FS, pid, tid int) int {
	status, err := proc.ReadStatus(files, proc.Thread(pid, tid))
	if err != nil {
		return 0
	}
	return int(status.Number("TracerPid"))
}
