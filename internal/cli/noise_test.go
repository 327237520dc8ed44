// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/proc"
)

func TestNoise(t *testing.T) {
	h := host{program: buildProgram(t)}
	t.Run("BadInput", h.testNoiseBadInput)
	t.Run("KnownGaps", h.testNoiseKnownGaps)
	t.Run("TraceLimit", h.testNoiseTraceLimit)
	t.Run("StartedElsewhere", h.testNoiseStartedElsewhere)
	t.Run("LoopThatDoesNotEnd", h.testNoiseLoopThatDoesNotEnd)
	t.Run("LoopThatIsEnded", h.testNoiseLoopThatIsEnded)
}

func (h host) testNoiseBadInput(t *testing.T) {
	for args, want := range map[string]string{
		"--threshold 0":                      "every reading",
		"--threshold -1us":                   "negative",
		"--threshold 1ns":                    "cannot be distinguished from the loop itself",
		"--threshold 1ms --trace-limit 10us": "would not be noted",
		"-P x:1":                             "want f:PRIORITY",
		"-P f:100":                           "from 1 to 99",
		"-P d:1ms:2ms":                       "deadline",
		"-d 0":                               "duration of 0",
		"--plot gaps.png":                    "has to end in .svg",
		"-c 9999":                            "only CPU",
		"something":                          "something",
	} {
		if r := h.run(t, append([]string{"noise"}, strings.Fields(args)...)...); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("noise %s: status %d, %q; want %d and %q", args, r.code, r.stderr, exitUsage, want)
		}
	}
}

// Who starts taskiso may be confined to some CPUs: the loop runs on the CPU that was named all the same, and on no other.
func (h host) testNoiseStartedElsewhere(t *testing.T) {
	allowed, err := affinity.Of(0)
	if err != nil {
		t.Fatal(err)
	}
	cpus := allowed.Slice()
	if len(cpus) < 2 {
		t.Skip("this process may run on one CPU only")
	}
	shell, measured := cpus[len(cpus)-1], cpus[0]
	if _, err := exec.LookPath("taskset"); err != nil {
		t.Skip(err)
	}
	confined := filepath.Join(t.TempDir(), "confined")
	script := fmt.Sprintf("#!/bin/sh\nexec taskset -c %d %s \"$@\"\n", shell, h.program)
	if err := os.WriteFile(confined, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	c, loop, exited := host{confined}.startLoop(t, "noise", "-c", strconv.Itoa(measured), "--json")
	seen := make(map[string]bool) // what threads of the loop may run on
	threads, err := proc.Threads(os.DirFS("/"), loop)
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range threads {
		if cpus, err := affinity.Of(tid); err == nil { // else it has ended
			seen[cpus.String()] = true
		}
	}
	c.Process.Signal(os.Interrupt)
	<-exited
	if !c.ProcessState.Success() {
		t.Fatalf("%v\n%s", c.ProcessState, c.Stderr)
	}
	if !seen[strconv.Itoa(measured)] {
		t.Errorf("threads of the loop were on CPU %v, want one of them on CPU %d", slices.Collect(maps.Keys(seen)), measured)
	}
	var r noise.Report
	if err := json.Unmarshal(c.Stdout.(*bytes.Buffer).Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.CPUs) != 1 || r.CPUs[0].CPU != measured || r.CPUs[0].Ran <= 0 {
		t.Errorf("started on CPU %d: measured %+v, want CPU %d", shell, r.CPUs, measured)
	}
}

// A loop that is stopped for a known time has gaps of at least that time: all that are
// listed, even if it was not yet, or no longer, measured at half of the stops.
func (h host) testNoiseKnownGaps(t *testing.T) {
	const length = 30 * time.Millisecond
	dir := t.TempDir()
	files := map[string]string{"--hist": "# taskiso noise histogram", "--hgrm": "Percentile", "--hlog": "#[Histogram log format", "--plot": "<svg"}
	args := []string{"noise", "--json"} // until it is interrupted, after the last stop
	for option := range files {
		args = append(args, option, filepath.Join(dir, option+".svg"))
	}
	c, loop, exited := h.startLoop(t, args...)
	for range 20 {
		stop(t, loop, length)
		waitRunning(t, loop)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	<-exited
	if !c.ProcessState.Success() {
		t.Fatalf("%v\n%s", c.ProcessState, c.Stderr)
	}
	var r noise.Report
	if err := json.Unmarshal(c.Stdout.(*bytes.Buffer).Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	for option, want := range files {
		if text, err := os.ReadFile(filepath.Join(dir, option+".svg")); err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: no %q: %v, %s", option, want, err, text)
		}
	}
	longest := r.CPUs[0].Longest
	if len(longest) < 10 || slices.ContainsFunc(longest, func(g noise.ExplainedGap) bool { return g.Length < length }) {
		t.Errorf("want ten gaps of %v or more, got %+v", length, longest)
	}
	for _, cause := range r.CPUs[0].Causes {
		if cause.Title == "system call" {
			t.Errorf("the loop made %d system calls: %s", cause.Count, cause.Detail)
		}
	}
}

// stop stops a process for a time, which begins when all its threads stand still.
func stop(t *testing.T, pid int, length time.Duration) {
	t.Helper()
	unix.Kill(pid, unix.SIGSTOP)
	defer unix.Kill(pid, unix.SIGCONT)
	running := func(tid int) bool {
		stat, err := proc.ReadStat(os.DirFS("/"), proc.Thread(pid, tid))
		return err == nil && stat.State != "T"
	}
	for deadline := time.Now().Add(runLimit); ; time.Sleep(time.Millisecond) {
		threads, _ := proc.Threads(os.DirFS("/"), pid)
		if !slices.ContainsFunc(threads, running) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not stop", pid)
		}
	}
	time.Sleep(length)
}

// waitRunning returns when a process that was stopped has used processor time again: it is between two gaps.
func waitRunning(t *testing.T, pid int) {
	t.Helper()
	used := func() time.Duration { return userTime(t, pid) }
	for before, deadline := used(), time.Now().Add(runLimit); used() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %d does not go on", pid)
		}
	}
}

// waitForLoop returns the process of the loop that taskiso has started.
func waitForLoop(t *testing.T, parent int) int {
	t.Helper()
	for deadline := time.Now().Add(runLimit); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", parent))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", parent, e.Name()))
			for _, child := range strings.Fields(string(children)) {
				name, _ := os.ReadFile("/proc/" + child + "/cmdline")
				if pid, err := strconv.Atoi(child); err == nil && strings.HasPrefix(string(name), loop.Name) {
					return pid
				}
			}
		}
	}
	t.Fatal("no loop")
	return 0
}

func (h host) testNoiseTraceLimit(t *testing.T) {
	r := h.run(t, "noise", "-d", "60s", "--trace-limit", "1us")
	if r.code != exitTooManyBreaks || !strings.Contains(r.stdout, "the gap that exceeded --trace-limit") {
		t.Errorf("status %d, %s", r.code, r.stderr)
	}
}

// What keeps a loop from its CPU until after the end is what was looked for: it is reported, and no reason to report nothing.
func (h host) testNoiseLoopThatDoesNotEnd(t *testing.T) {
	c, loop, exited := h.startLoop(t, "noise", "--json")
	if err := errors.Join(unix.Kill(loop, unix.SIGSTOP), c.Process.Signal(os.Interrupt)); err != nil {
		t.Fatal(err)
	}
	<-exited
	var r noise.Report
	if err := json.Unmarshal(c.Stdout.(*bytes.Buffer).Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if code := c.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d; %s", code, c.Stderr)
	}
	const longest = 5 * time.Second // from when it was to end until it was ended
	if cpu := r.CPUs[0]; cpu.Unknown.Max < longest || cpu.Total < longest || cpu.Ran <= cpu.Total || cpu.MovedTo != nil {
		t.Errorf("%+v", cpu)
	}
	if !strings.Contains(strings.Join(r.Limits, "\n"), "did not end within 5s after it was stopped") {
		t.Errorf("limits %q", r.Limits)
	}
}

// What a loop saw until somebody ended it is reported, and passes nothing.
func (h host) testNoiseLoopThatIsEnded(t *testing.T) {
	for sig, state := range map[unix.Signal]string{unix.SIGKILL: "signal: killed", unix.SIGTERM: "exit status 0"} {
		c, loop, exited := h.startLoop(t, "noise", "--json")
		stop(t, loop, 20*time.Millisecond)
		waitRunning(t, loop)
		if err := unix.Kill(loop, sig); err != nil {
			t.Error(err)
		}
		<-exited
		if code := c.ProcessState.ExitCode(); code != exitFailed {
			t.Errorf("%v: exit status %d, want %d", sig, code, exitFailed)
		}
		checkOneLine(t, c.Stderr.(*bytes.Buffer).String(), "the busy loop was ended: "+state)
		var r noise.Report
		if err := json.Unmarshal(c.Stdout.(*bytes.Buffer).Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if cpu := r.CPUs[0]; r.EndedBy != "exit" || cpu.Ran < 20*time.Millisecond || cpu.Ran > runLimit || cpu.Longest[0].Length < 20*time.Millisecond || cpu.Total >= cpu.Ran || cpu.MovedTo != nil {
			t.Errorf("%v: ended by %q: %+v", sig, r.EndedBy, cpu)
		}
		if !strings.Contains(strings.Join(r.Limits, "\n"), "the busy loop was ended ("+state+")") {
			t.Errorf("%v: limits %q", sig, r.Limits)
		}
	}
}
