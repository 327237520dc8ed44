// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskiso/taskiso/internal/proc"
)

// hostileProgram is testdata/hostile.c.
const hostileProgram = "/bin/hostile"

// hostileVariable says for how many seconds it does its worst.
const hostileVariable = "TASKISO_TEST_HOSTILE"

// A task that does its worst to every descriptor, page and file that it can reach
// of root's taskiso: taskiso lives, its report is right and of a bounded size, and
// nobody is left stopped.
func TestGuestYieldHostile(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777|os.ModeSticky); err != nil { // as /tmp is
		t.Fatal(err)
	}
	file, events := filepath.Join(dir, "report.json"), filepath.Join(dir, "events.ndjson")
	// Held as briefly as can be: what waits does nothing.
	spec := filepath.Join(dir, "hold.toml")
	if err := os.WriteFile(spec, []byte("max-wait = \"50ms\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	seconds := cmp.Or(os.Getenv(hostileVariable), "5")
	c := exec.Command(guestProgram, "run", "--full", "-c", "2-3", "--report", file, "--events", events, "--hold="+spec, "--user", "65534",
		"--", hostileProgram, seconds, "1", dir)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	var done, reached int
	if _, scanned := fmt.Sscanf(stdout.String(), "done %d reached %d", &done, &reached); err != nil || scanned != nil || reached > 0 || done == 0 {
		t.Errorf("taskiso: %v; the task printed %q\n%s", err, stdout.String(), firstLines(stderr.String(), 40))
	}
	if i := strings.IndexFunc(stderr.String(), func(r rune) bool { return r < ' ' && r != '\n' }); i >= 0 {
		t.Errorf("a name has reached the terminal: %q", stderr.String()[max(0, i-60):])
	}
	usage := c.ProcessState.SysUsage().(*syscall.Rusage)
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rounds in %s s; taskiso took %d KiB; the report has %d bytes", done, seconds, usage.Maxrss, info.Size())
	const maxMemory, maxReport = 400 << 10, 24 << 20 // KiB, bytes
	if usage.Maxrss > maxMemory || info.Size() > maxReport {
		t.Errorf("more than %d KiB or %d bytes", maxMemory, maxReport)
	}
	checkHostileReport(t, file, events)
	if stopped := stoppedProcesses(t); len(stopped) > 0 {
		t.Errorf("left stopped: %v", stopped)
	}
	if out, err := exec.Command(guestProgram, "run", "-q", "-c", "3", "--", "/bin/hostile").CombinedOutput(); err != nil {
		t.Errorf("a run after it: %v\n%s", err, out)
	}
}

// checkHostileReport compares the report with the events beside it, and with what
// the kernel counted.
func checkHostileReport(t *testing.T, file, events string) {
	t.Helper()
	r := readReport(t, file)
	text, err := os.ReadFile(events)
	if err != nil {
		t.Fatal(err)
	}
	var breaks, causes uint64
	for _, cpu := range r.CPUs {
		breaks += cpu.Breaks
		for _, cause := range cpu.Causes {
			causes += cause.Count
		}
		if cpu.Interrupts == nil {
			continue
		}
		for _, row := range cpu.Interrupts.Rows {
			if row.Differ() && r.Lost.Events == 0 {
				t.Errorf("CPU %d, %s: the kernel counted %d, taskiso saw %d", cpu.CPU, row.Name, row.Kernel, *row.Seen)
			}
		}
	}
	if lines := uint64(bytes.Count(text, []byte("\n"))); breaks == 0 || breaks != lines || breaks != causes {
		t.Errorf("%d breaks, %d by cause, %d events", breaks, causes, lines)
	}
	if len(r.Isolation) == 0 {
		t.Error("no thread asked to be isolated: nothing was tried")
	}
	t.Logf("%d breaks, %d threads, %d that asked for isolation, %d holds, lost %d", breaks, r.Task.Threads, len(r.Isolation), len(r.Holds), r.Lost.Events)
}

// stoppedProcesses returns the state of every task that is stopped or traced.
func stoppedProcesses(t *testing.T) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var stopped []string
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		shown, err := proc.ParseStat(string(stat))
		if err != nil {
			t.Fatal(err)
		}
		if shown.State == "T" || shown.State == "t" {
			stopped = append(stopped, strings.TrimSpace(string(stat)))
		}
	}
	return stopped
}

func firstLines(text string, n int) string {
	lines := strings.SplitAfterN(text, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "")
}
