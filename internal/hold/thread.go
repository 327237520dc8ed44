// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// canStop tells whether this process may stop others as a debugger does.
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

func ptrace(request, tid int, signal unix.Signal) error {
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), 0, uintptr(signal), 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// seize lets a thread stop where it next comes to the hook, which shows in look. It
// does not interrupt it: not every system call goes on after that as if nothing had been.
func seize(tid int) error {
	if err := ptrace(unix.PTRACE_SEIZE, tid, 0); err != nil {
		return fmt.Errorf("tracing thread %d: %w", tid, err)
	}
	return nil
}

// listen lets a stopped thread stay so, and take part when a signal stops or continues its process.
func listen(tid int) error {
	if err := ptrace(unix.PTRACE_LISTEN, tid, 0); err != nil && !isGone(err) {
		return fmt.Errorf("keeping thread %d: %w", tid, err)
	}
	return nil
}

// rouse ends listen: the thread shows in look as stopped again.
func rouse(tid int) error {
	if err := ptrace(unix.PTRACE_INTERRUPT, tid, 0); err != nil && !isGone(err) {
		return fmt.Errorf("rousing thread %d: %w", tid, err)
	}
	return nil
}

// letGo lets a stopped thread go on, with a signal if that is not 0.
func letGo(tid int, signal unix.Signal) error {
	if err := ptrace(unix.PTRACE_DETACH, tid, signal); err != nil && !isGone(err) {
		return fmt.Errorf("letting thread %d go: %w", tid, err)
	}
	return nil
}

// isGone tells whether a thread ended, or is being killed.
func isGone(err error) bool { return errors.Is(err, unix.ESRCH) }

// place is where a seized thread is.
type place int

const (
	runs    place = iota
	stopped       // for us
	signals       // it is about to handle a signal, or to be stopped by one
	gone
)

// eventStop is PTRACE_EVENT_STOP of include/uapi/linux/ptrace.h.
const eventStop = 128

// look tells where a thread is, if that has changed, and the signal it is about to handle.
func look(tid int) (place, unix.Signal, error) {
	var ws unix.WaitStatus
	n, err := unix.Wait4(tid, &ws, unix.WALL|unix.WNOHANG, nil)
	switch {
	case errors.Is(err, unix.ECHILD): // not ours any more
		return gone, 0, nil
	case errors.Is(err, unix.EINTR), err == nil && n == 0:
		return runs, 0, nil
	case err != nil:
		return runs, 0, fmt.Errorf("waiting for thread %d: %w", tid, err)
	case !ws.Stopped():
		return gone, 0, nil
	case uint32(ws)>>16 != eventStop:
		return signals, ws.StopSignal(), nil
	case ws.StopSignal() != unix.SIGTRAP: // the whole process is stopped by a signal: it stays so without us
		return signals, 0, nil
	}
	return stopped, 0, nil
}

// hasSignal tells whether a thread would handle a signal, or be ended by one, if it went on.
func hasSignal(files fs.FS, pid, tid int) bool {
	text, err := fs.ReadFile(files, fmt.Sprintf("proc/%d/task/%d/status", pid, tid))
	if err != nil {
		return true // it ends
	}
	sets := make(map[string]uint64)
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(string(line), ":")
		if strings.HasPrefix(name, "Sig") || name == "ShdPnd" {
			sets[name], _ = strconv.ParseUint(strings.TrimSpace(value), 16, 64)
		}
	}
	// SIGCONT of its own is from the program at the hook.
	pending := sets["SigPnd"]&^bit(unix.SIGCONT) | sets["ShdPnd"]
	return pending&^sets["SigBlk"]&^sets["SigIgn"]&^(ignoredByDefault&^sets["SigCgt"]) != 0
}

// ignoredByDefault are signals that do nothing without a handler: SIG_KERNEL_IGNORE_MASK of include/linux/signal.h.
var ignoredByDefault = bit(unix.SIGCONT) | bit(unix.SIGCHLD) | bit(unix.SIGWINCH) | bit(unix.SIGURG)

func bit(s unix.Signal) uint64 { return 1 << (s - 1) }

// inCall tells whether a thread is in a system call.
func inCall(files fs.FS, tid, nr int) bool {
	text, err := fs.ReadFile(files, fmt.Sprintf("proc/%d/syscall", tid))
	if err != nil {
		return false // it has ended
	}
	number, _, _ := strings.Cut(string(text), " ")
	return number == strconv.Itoa(nr) || strings.TrimSpace(number) == "running"
}
