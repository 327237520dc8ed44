// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/proc"
)

// root is where package proc finds the files of tasks.
func root() fs.FS { return os.DirFS("/") }

// threads returns the threads of a process.
func threads(pid int) ([]int, error) {
	tids, err := proc.Threads(root(), pid)
	if hasEnded(err) {
		return nil, fmt.Errorf("listing threads of process %d: %w", pid, ErrNoTarget)
	}
	if err != nil {
		return nil, fmt.Errorf("listing threads of process %d: %w", pid, err)
	}
	return tids, nil
}

// processOf returns the process of a thread.
func processOf(tid int) (int, error) {
	status, err := proc.ReadStatus(root(), proc.Process(tid))
	if hasEnded(err) {
		return 0, fmt.Errorf("looking for thread %d: %w", tid, ErrNoTarget)
	}
	if err != nil {
		return 0, fmt.Errorf("looking for the process of thread %d: %w", tid, err)
	}
	pid, err := strconv.Atoi(status.Value("Tgid"))
	if err != nil {
		return 0, fmt.Errorf("looking for the process of thread %d: /proc/%d/status has Tgid %q", tid, tid, status.Value("Tgid"))
	}
	return pid, nil
}

// hasEnded reports whether the files of a task were not there, or could not be read, because it had ended.
func hasEnded(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) }

// onlineCPUs returns the CPUs that a thread can run on now.
func onlineCPUs() ([]int, error) {
	const path = "/sys/devices/system/cpu/online"
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("listing CPUs: %w", err)
	}
	var cpus []int
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("parsing %s: %w", path, err)
		}
		for cpu := from; cpu <= to; cpu++ {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// life shows when a target has ended.
type life struct {
	pid, tid int // tid is 0 for a process
	pidfd    int
}

func watchLife(pid int, t Target) (life, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return life{}, fmt.Errorf("watching process %d: %w", pid, ErrNoTarget)
	}
	if err != nil {
		return life{}, fmt.Errorf("watching the end of process %d: %w", pid, err)
	}
	l := life{pid: pid, pidfd: fd}
	if t.thread {
		l.tid = t.id
	}
	return l, nil
}

func (l life) ended() bool {
	fds := []unix.PollFd{{Fd: int32(l.pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 0); err == nil && n > 0 {
		return true
	}
	return l.tid != 0 && errors.Is(unix.Tgkill(l.pid, l.tid, 0), unix.ESRCH)
}

func (l life) close() error { return unix.Close(l.pidfd) }
