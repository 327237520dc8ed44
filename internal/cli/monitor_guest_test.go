// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/emulator"
	"github.com/taskiso/taskiso/internal/report"
)

const tracefs = "/sys/kernel/tracing"

// tracepoint is the switch of one whose users patch kernel text. On x86 that is so with the second user, because calls to it are
// patched; elsewhere with the first, so it is one that taskiso does not use.
var tracepoint = tracefs + "/events/" + map[string]string{"amd64": "sched/sched_migrate_task", "arm64": "sched/sched_pi_setprio"}[runtime.GOARCH] + "/enable"

// synchronises is what every CPU runs for each step of a patch: on arm64 for each patch, kick_all_cpus_sync() in
// arch/arm64/kernel/jump_label.c.
var synchronises = map[string]string{"amd64": "do_sync_core", "arm64": "do_nothing"}[runtime.GOARCH]

// Switching a tracepoint on and off patches kernel text, and every step
// interrupts a busy loop on an isolated CPU. The monitor counts as many of these
// interruptions as the kernel's own trace of the called functions shows.
func TestGuestMonitorCountsPatches(t *testing.T) {
	kernel := traceCalls(t)
	for range 5 {
		if countPatches(t, kernel) {
			return
		}
	}
	t.Error("never known")
}

// countPatches returns false if nothing can be said of who sent the interrupts, as 7.2
// may preempt the program that records it and the verdict is unknown then; or if one
// came while the CPU was in the kernel for something else, and was no violation.
func countPatches(t *testing.T, kernel string) (known bool) {
	w := startWatch(t, "--monitor", "quiet_user", "--monitor", "poke3")
	_, stopSpinning := startPoller(t)
	for range 3 {
		writeFile(t, tracepoint, "1")
		writeFile(t, tracepoint, "0")
	}
	stopSpinning()
	r, code, out := w.stop(t)
	t.Log(out)
	quiet, poke := verdictOf(t, r, "quiet_user"), verdictOf(t, r, "poke3")
	if kernel == "" { // 6.1: nobody sees what an interrupt was for
		for _, m := range []report.Monitor{quiet, poke} {
			if m.Verdict != report.MonitorUnknown || !strings.Contains(strings.Join(m.Reasons, " "), "csd:csd_") {
				t.Errorf("%s without csd events: %+v", m.Monitor, m)
			}
		}
		if code != exitFailed {
			t.Errorf("exit status %d, want %d", code, exitFailed)
		}
		return true
	}
	synced := countCalls(t, kernel, synchronises, r.Began, r.Began+r.Duration)
	if synced == 0 {
		text, _ := os.ReadFile(kernel)
		t.Logf("the kernel's trace: %.2000s", text)
	}
	t.Logf("the kernel's trace has %d calls of %s; quiet_user: %+v; poke3: %+v", synced, synchronises, quiet, poke)
	if others := otherBreaks(r, map[string]string{"amd64": "ipi-text-patching", "arm64": "ipi-sync-all"}[runtime.GOARCH]); quiet.Violations < uint64(synced) && quiet.Violations+others >= uint64(synced) {
		return false
	}
	if synced == 0 || quiet.Violations != uint64(synced) || quiet.Verdict != report.MonitorViolated {
		t.Errorf("%d calls of %s, and %d violations (%s)", synced, synchronises, quiet.Violations, quiet.Verdict)
	}
	if cal := rowOf(r, "CAL") + rowOf(r, "IPI1"); cal < quiet.Violations {
		t.Errorf("%d function-call interrupts in /proc/interrupts, and %d violations", cal, quiet.Violations)
	}
	if runtime.GOARCH != "amd64" {
		if poke.Verdict != report.MonitorUnknown || code != exitFailed && code != exitViolated {
			t.Errorf("poke3 is about x86, and it is %+v, exit status %d", poke, code)
		}
		return true
	}
	if recordingPreempted(poke) {
		return false
	}
	if poke.Verdict != report.MonitorSatisfied || poke.Events < uint64(synced) {
		t.Errorf("poke3: %+v, with %d synchronisations", poke, synced)
	}
	if code != exitViolated {
		t.Errorf("exit status %d, want %d", code, exitViolated)
	}
	return true
}

// otherBreaks counts those that are not of a cause whose ID begins so.
func otherBreaks(r report.Report, cause string) uint64 {
	var n uint64
	for _, cpu := range r.CPUs {
		for _, c := range cpu.Causes {
			if !strings.HasPrefix(c.ID, cause) {
				n += c.Count
			}
		}
	}
	return n
}

// With nothing patched there is nothing to say against the kernel.
func TestGuestMonitorHolds(t *testing.T) {
	if traceCalls(t) == "" {
		return // then it cannot be known, as shown above
	}
	for range 5 {
		if monitorHolds(t) {
			return
		}
	}
	t.Error("never known")
}

// monitorHolds returns false if nothing can be said of who sent an interrupt: see countPatches.
func monitorHolds(t *testing.T) (known bool) {
	w := startWatch(t, "--monitor", "quiet_user")
	_, stopSpinning := startPoller(t)
	time.Sleep(time.Second)
	stopSpinning()
	r, code, out := w.stop(t)
	m := verdictOf(t, r, "quiet_user")
	if recordingPreempted(m) {
		t.Logf("unknown: %+v", m)
		return false
	}
	if m.Verdict != report.MonitorSatisfied || code != 0 {
		t.Errorf("nothing was patched, but %+v, exit status %d\n%s", m, code, out)
	}
	return true
}

// recordingPreempted reports whether a monitor's verdict is unknown because the kernel ran another task while a program
// recorded who sent an interrupt.
func recordingPreempted(m report.Monitor) bool {
	return m.Verdict == report.MonitorUnknown && strings.Contains(strings.Join(m.Reasons, " "), "their recording was preempted")
}

// A CPU that ticks tells nobody when it leaves user mode.
func TestGuestMonitorOfTickingCPUIsUnknown(t *testing.T) {
	r, code, out := runProgram(t, "watch", "-c", "1", "-d", "1s", "--monitor", "quiet_user")
	m := verdictOf(t, r, "quiet_user")
	if m.Verdict != report.MonitorUnknown || !strings.Contains(strings.Join(m.Reasons, " "), "nohz_full") || code != exitFailed {
		t.Errorf("CPU 1: %+v, exit status %d\n%s", m, code, out)
	}
}

func verdictOf(t *testing.T, r report.Report, monitor string) report.Monitor {
	t.Helper()
	for _, m := range r.Monitors {
		if m.Monitor == monitor {
			return m
		}
	}
	t.Fatalf("no verdict of %s in %+v", monitor, r.Monitors)
	return report.Monitor{}
}

func rowOf(r report.Report, name string) uint64 {
	for _, row := range r.CPUs[0].Interrupts.Rows {
		if row.Name == name {
			return row.Kernel
		}
	}
	return 0
}

// watching is a taskiso watch that goes on.
type watching struct {
	c      *exec.Cmd
	out    bytes.Buffer
	report string
}

// startWatch watches the isolated CPU.
func startWatch(t *testing.T, args ...string) *watching {
	t.Helper()
	return startWatching(t, append([]string{"-c", fmt.Sprint(victimCPU)}, args...)...)
}

func startWatching(t *testing.T, args ...string) *watching {
	t.Helper()
	w := &watching{report: filepath.Join(t.TempDir(), "report.json")}
	w.c = exec.Command(guestProgram, append([]string{"watch", "--report", w.report}, args...)...)
	w.c.Stdout, w.c.Stderr = &w.out, &w.out
	ready := notified(t, w.c)
	if err := w.c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("taskiso watch, %d links: %s", links(t), &w.out)
		}
	})
	ready()
	return w
}

// links returns the number of BPF links. One that is just being made has a number
// already, but cannot be opened: then it returns those before.
func links(t *testing.T) int {
	t.Helper()
	n := 0
	var all link.Iterator
	defer all.Close()
	for all.Next() {
		n++
	}
	if err := all.Err(); err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
	return n
}

func (w *watching) stop(t *testing.T) (report.Report, int, string) {
	t.Helper()
	if err := w.c.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	w.c.Wait()
	return readReport(t, w.report), w.c.ProcessState.ExitCode(), w.out.String()
}

// traceCalls has the kernel trace the functions that other CPUs call, and
// returns where it writes those of the isolated CPU, or "" if it cannot.
func traceCalls(t *testing.T) string {
	t.Helper()
	instance := filepath.Join(tracefs, "instances", "calls")
	if err := os.Mkdir(instance, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(instance) })
	enable := instance + "/events/csd/csd_function_entry/enable"
	if _, err := os.Stat(enable); err != nil {
		return ""
	}
	writeFile(t, instance+"/trace_clock", "mono")
	writeFile(t, enable, "1")
	t.Cleanup(func() { writeFile(t, enable, "0") })
	return fmt.Sprintf("%s/per_cpu/cpu%d/trace", instance, victimCPU)
}

// countCalls counts the calls of a function between two times of CLOCK_MONOTONIC.
// A line ends in "[003] d.h.. 12.345678: csd_function_entry: func=NAME, csd=ADDRESS".
func countCalls(t *testing.T, file, function string, from, to time.Duration) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		before, call, ok := strings.Cut(line, ": csd_function_entry: ")
		if words := strings.FieldsFunc(call, func(r rune) bool { return strings.ContainsRune(" ,=+\n", r) }); !ok || !slices.Contains(words, function) {
			continue
		}
		words := strings.Fields(before)
		at, err := strconv.ParseFloat(words[len(words)-1], 64)
		if err != nil {
			t.Fatalf("reading the time in %q: %v", line, err)
		}
		if at >= from.Seconds() && at <= to.Seconds() {
			n++
		}
	}
	return n
}

// spinVariable makes the test binary spin on the CPU that it names.
const spinVariable = "TASKISO_TEST_SPIN"

func spinOn(cpu string) {
	runtime.LockOSThread()
	n, err := strconv.Atoi(cpu)
	var cpus cpulist.Set
	if err == nil {
		cpus, err = cpulist.New(n)
	}
	if err == nil {
		err = affinity.Set(0, cpus)
	}
	if err != nil {
		panic(err)
	}
	for { // all of it is nosplit: Go's scheduler has nowhere to step in
		emulator.Yield()
	}
}
