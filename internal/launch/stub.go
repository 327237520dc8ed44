// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/seccomp"
)

// IsStub reports whether this process was started by [Start] and has to call Stub.
func IsStub() bool { return len(os.Args) == 1 && os.Args[0] == stubName }

// stubFailed is the exit status of a stub without a caller.
const stubFailed = 125

// Stub becomes the command; it returns only the exit status of a failure.
//
// It stays on one thread: affinity, and in the end execve, are that thread's.
func Stub() int {
	runtime.LockOSThread()
	syscall.CloseOnExec(orderFD)
	syscall.CloseOnExec(reportFD)
	report := json.NewEncoder(os.NewFile(reportFD, "report"))
	if err := stub(os.NewFile(orderFD, "order"), report); err != nil {
		var failed *ExecError
		if errors.As(err, &failed) {
			report.Encode(stubReport{Step: failed.Step, Errno: failed.Errno})
		}
	}
	return stubFailed
}

func stub(orders io.Reader, report *json.Encoder) error {
	in := bufio.NewReader(orders)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading the order: %w", err)
	}
	var c Command
	if err := json.Unmarshal(line, &c); err != nil {
		return fmt.Errorf("parsing the order %q: %w", line, err)
	}
	if c.IgnoreInterrupt {
		signal.Ignore(syscall.SIGINT) // execve keeps it
	}
	if err := report.Encode(stubReport{TID: unix.Gettid()}); err != nil {
		return fmt.Errorf("reporting the thread: %w", err)
	}
	if _, err := in.ReadBytes('\n'); err != nil {
		return fmt.Errorf("waiting for the release: %w", err) // whoever started us is gone
	}
	if c.Isolable {
		if err := handOverListener(in, report); err != nil {
			return err
		}
	}
	return c.become(report)
}

// handOverListener has the calls of what this process will execute answered by
// the caller. It needs privileges that the command's user may lack.
func handOverListener(in *bufio.Reader, report *json.Encoder) error {
	r := stubReport{}
	var err error
	if r.Listener, err = seccomp.Install(); err != nil {
		r.Step, r.Errno = "installing a seccomp filter", errno(err)
	}
	if err := report.Encode(r); err != nil {
		return fmt.Errorf("reporting the listener: %w", err)
	}
	if _, err := in.ReadBytes('\n'); err != nil {
		return fmt.Errorf("waiting for the release: %w", err)
	}
	return nil
}

// become executes the command. All that goes before is the stub's: it reports what that took when nothing else is to do.
func (c *Command) become(report *json.Encoder) error {
	if c.Cgroup != "" {
		if err := EnterCgroup(c.Cgroup); err != nil {
			return &ExecError{"entering " + c.Cgroup, errno(err)}
		}
	}
	if !c.CPUs.IsEmpty() {
		if err := affinity.Set(0, c.CPUs); err != nil {
			return &ExecError{fmt.Sprintf("moving to CPU %v", c.CPUs), errno(err)}
		}
	}
	if c.User != nil {
		if err := c.User.assume(); err != nil {
			return err
		}
	}
	var used syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	if err == nil {
		err = report.Encode(stubReport{Used: &used})
	}
	if err != nil {
		return fmt.Errorf("reporting what the launcher used up: %w", err)
	}
	err = syscall.Exec(c.Path, c.Args, c.Env)
	return &ExecError{"executing " + c.Path, errno(err)}
}

// EnterCgroup moves this process to the cgroup of a directory in cgroupfs.
func EnterCgroup(dir string) error {
	files, err := kernfs.OpenWritable(dir)
	if err != nil {
		return err
	}
	defer files.Close()
	return files.Write("cgroup.procs", "0") // the writer itself: cgroups(7)
}

func (u *User) assume() error {
	groups := make([]int, len(u.Groups))
	for i, g := range u.Groups {
		groups[i] = int(g)
	}
	if err := syscall.Setgroups(groups); err != nil {
		return &ExecError{fmt.Sprintf("taking on groups %v", groups), errno(err)}
	}
	if err := syscall.Setgid(int(u.GID)); err != nil {
		return &ExecError{fmt.Sprintf("taking on group %d", u.GID), errno(err)}
	}
	if err := syscall.Setuid(int(u.UID)); err != nil {
		return &ExecError{fmt.Sprintf("taking on user %d", u.UID), errno(err)}
	}
	return nil
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return syscall.EINVAL
}
