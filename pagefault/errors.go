// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/proc"
)

var (
	// ErrNotPermitted means that the kernel does not let this user watch that
	// target. The error's text names the setting or capability that is missing.
	ErrNotPermitted = errors.New("not permitted")
	// ErrNoTarget means that the process or thread does not exist (any more).
	ErrNoTarget = errors.New("no such process or thread")
	// ErrEmptyRange means that a range of addresses contains none.
	ErrEmptyRange = errors.New("empty range of addresses")
	// ErrTooManyFiles means that the limit of open files is too low for the
	// number of threads and CPUs. The error's text names the number that is needed.
	ErrTooManyFiles = errors.New("too many open files")
	// ErrNotSupported means that the kernel has no such thing.
	ErrNotSupported = errors.New("not supported by this kernel")
	// ErrClosed means that the watcher was closed.
	ErrClosed = errors.New("already closed")

	errNegative = errors.New("negative number")
)

// explainOpen turns an errno of perf_event_open(2) for a thread into an error
// that names the next step. kernelMode is true if faults in kernel mode were asked for.
func explainOpen(err error, tid int, kernelMode bool) error {
	switch {
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("watching thread %d: %w", tid, ErrNoTarget)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("watching thread %d: %w: %s", tid, ErrNotPermitted, missing(tid, kernelMode))
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("watching thread %d: %w: no perf_event_open (CONFIG_PERF_EVENTS), or a seccomp filter forbids it", tid, ErrNotSupported)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.E2BIG), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("watching thread %d: %w: %w", tid, ErrNotSupported, err)
	}
	return fmt.Errorf("watching thread %d: %w", tid, err)
}

// missing names the permission that is lacking. The order is that of the kernel's
// checks: the sysctl first, then the owner of the process.
func missing(tid int, kernelMode bool) string {
	level, err := paranoid()
	if err != nil {
		return err.Error()
	}
	switch {
	case level > 2:
		return fmt.Sprintf("the sysctl kernel.perf_event_paranoid is %d: it must be 2 or less, or CAP_PERFMON is needed", level)
	case level > 1 && kernelMode:
		return fmt.Sprintf("the sysctl kernel.perf_event_paranoid is %d: for faults in kernel mode it must be 1 or less, or CAP_PERFMON is needed", level)
	}
	owner, err := ownerOf(tid)
	if err == nil && owner != os.Geteuid() {
		return fmt.Sprintf("it belongs to user %d and this is user %d: CAP_PERFMON or CAP_SYS_PTRACE is needed", owner, os.Geteuid())
	}
	return "the process cannot be traced: it changed its user or executed a file that cannot be read (see PTRACE_MODE_READ in ptrace(2)), " +
		"or a security module forbids it; CAP_PERFMON or CAP_SYS_PTRACE is needed"
}

func paranoid() (int, error) {
	const path = "/proc/sys/kernel/perf_event_paranoid"
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	level, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("parsing %s: %w", path, err)
	}
	return level, nil
}

// ownerOf returns the effective user of a thread.
func ownerOf(tid int) (int, error) {
	status, err := proc.ReadStatus(root(), proc.Process(tid))
	if err != nil {
		return 0, err
	}
	users := strings.Fields(status.Value("Uid")) // real, effective, saved, of the file system
	if len(users) < 2 {
		return 0, fmt.Errorf("looking for the user of thread %d: /proc/%d/status has Uid %q", tid, tid, status.Value("Uid"))
	}
	return strconv.Atoi(users[1])
}
