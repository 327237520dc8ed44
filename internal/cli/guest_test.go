// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/report"
)

// runProgram runs taskiso and returns its report, its exit status and what it printed.
func runProgram(t *testing.T, args ...string) (report.Report, int, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	args = append(args[:1:1], append([]string{"--report", file}, args[1:]...)...)
	c := exec.Command(guestProgram, args...)
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		t.Fatalf("running taskiso %q: %v", args, err)
	}
	return readReport(t, file), c.ProcessState.ExitCode(), string(out)
}

func readReport(t *testing.T, file string) report.Report {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("parsing report %s: %v", file, err)
	}
	return r
}

// What taskiso shows of an isolated CPU is what the kernel has counted there.
func TestGuestBusyLoopAgreesWithTheKernel(t *testing.T) {
	r, code, out := runProgram(t, "run", "-c", "3", "-d", "30s", "--warm-up", "2s")
	t.Log(out)
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
	if len(r.CPUs) != 1 || r.CPUs[0].CPU != 3 || !r.CPUs[0].Complete {
		t.Fatalf("want complete observation of CPU 3, got %+v", r.CPUs)
	}
	cpu := r.CPUs[0]
	if r.Lost.Events+cpu.Preempted > 0 {
		t.Errorf("lost %+v, preempted %d times", r.Lost, cpu.Preempted)
	}
	// A tick would break it 7,500 times at 250 Hz. What is left on newer kernels
	// are the deadline server (6.8 and later) and the clocksource watchdog.
	if cpu.Breaks > 150 {
		t.Errorf("%d breaks in 30 s on an isolated CPU", cpu.Breaks)
	}
	if cpu.User < 29*time.Second {
		t.Errorf("in user mode for %v of 30 s", cpu.User)
	}
	if cpu.Interrupts == nil || !cpu.Interrupts.Exact {
		t.Fatalf("interrupts not compared exactly: %+v", cpu.Interrupts)
	}
	for _, row := range cpu.Interrupts.Rows {
		switch {
		case row.Seen == nil && row.Reason == "":
			t.Errorf("%s: not compared for no reason", row.Name)
		case row.Seen != nil && *row.Seen != row.Kernel:
			t.Errorf("%s: the kernel counted %d, taskiso saw %d", row.Name, row.Kernel, *row.Seen)
		}
	}
}
