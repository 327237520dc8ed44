// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/claim"
)

// containerVariable makes the test binary become a program with arguments, with a /proc of its new PID namespace and a /run of its own.
const containerVariable = "TASKISO_TEST_CONTAINER"

func becomeContainer(words string) error {
	err := errors.Join(
		unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""),
		unix.Mount("proc", "/proc", "proc", 0, ""),
		os.MkdirAll("/run", 0o755),
		unix.Mount("none", "/run", "tmpfs", 0, ""),
	)
	if err != nil {
		return fmt.Errorf("making a container: %w", err)
	}
	args := strings.Fields(words)
	return unix.Exec(args[0], args, os.Environ())
}

func inContainer(args ...string) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), containerVariable+"="+guestProgram+" "+strings.Join(args, " "))
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	return c
}

// A container that shares nothing with another but the kernel sees its claims, and they end with their process.
func TestGuestClaimIsSeenFromOtherContainers(t *testing.T) {
	holder := inContainer("run", "-c", "3", "-q")
	holder.Stderr = t.Output()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer holder.Process.Kill()
	name := claim.Marks + "3"
	eventually(t, "CPU 3 is claimed", func() bool { return hasMap(t, name) })
	const rest = " is using it; name another CPU with -c, or wait until it ends\n"
	for _, tc := range []struct {
		c    *exec.Cmd
		want string
	}{
		{exec.Command(guestProgram, "run", "-c", "2-3", "-d", "1s"), fmt.Sprintf("taskiso: reserving CPU 3: taskiso process %d", holder.Process.Pid) + rest},
		{inContainer("run", "-c", "3", "-d", "1s"), "taskiso: reserving CPU 3: taskiso in another container, which has no process here," + rest},
	} {
		out, _ := tc.c.CombinedOutput()
		if string(out) != tc.want || tc.c.ProcessState.ExitCode() != exitFailed {
			t.Errorf("%q: status %d, printed %q; want %d, %q", tc.c.Args, tc.c.ProcessState.ExitCode(), out, exitFailed, tc.want)
		}
	}
	holder.Process.Kill()
	holder.Wait()
	if hasMap(t, name) {
		t.Error("the claim is there without its process")
	}
}

// hasMap reports whether there is a BPF map of a name.
func hasMap(t *testing.T, name string) bool {
	t.Helper()
	for id := ebpf.MapID(0); ; {
		var err error
		if id, err = ebpf.MapGetNextID(id); errors.Is(err, os.ErrNotExist) {
			return false
		} else if err != nil {
			t.Fatal(err)
		}
		m, err := ebpf.NewMapFromID(id)
		if err != nil {
			continue // it has gone
		}
		info, err := m.Info()
		m.Close()
		if err == nil && info.Name == name {
			return true
		}
	}
}
