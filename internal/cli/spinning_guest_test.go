// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os/exec"
	"sync"
	"testing"
)

// pollerProgram is testdata/poller.c.
const pollerProgram = "/bin/poller"

// startPoller starts a program that has entered the kernel for the last time, on the isolated CPU, and returns what
// ends it before the test does.
func startPoller(t *testing.T) (pid int, stop func()) {
	t.Helper()
	c := exec.Command(pollerProgram, fmt.Sprint(victimCPU))
	said, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { c.Process.Kill(); c.Wait() })
	t.Cleanup(stop)
	if _, err := said.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c.Process.Pid, stop
}

// Who spins on an isolated CPU since before the observation, and never enters the kernel, makes no event. That is
// user mode and not an idle CPU.
func TestGuestFindsWhoSpins(t *testing.T) {
	pid, _ := startPoller(t)
	for _, subject := range [][]string{{"-c", fmt.Sprint(victimCPU)}, {"-t", fmt.Sprint(pid)}, {"-p", fmt.Sprint(pid)}} {
		r, _, out := runProgram(t, append([]string{"watch", "-d", "1s"}, subject...)...)
		if len(r.CPUs) != 1 || r.CPUs[0].CPU != victimCPU || r.Task.Threads != 1 {
			t.Errorf("watch %q: %s", subject, out)
			continue
		}
		cpu := r.CPUs[0]
		// How soon it is found depends on when the emulator gives its CPU a turn after attaching.
		if cpu.User == 0 || cpu.User+cpu.Kernel+cpu.Waited > r.Duration {
			t.Errorf("watch %q: in user mode for %v, in the kernel for %v, waited %v of %v", subject, cpu.User, cpu.Kernel, cpu.Waited, r.Duration)
		}
		t.Logf("watch %q: %s, in user mode for %v of %v, %d breaks", subject, cpu.Verdict, cpu.User, r.Duration, cpu.Breaks)
	}
}
