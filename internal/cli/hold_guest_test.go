// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/hold"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/report"
)

// allGuardedVariable asks for all operations, as make hold-soak does, not the quick ones only.
const allGuardedVariable = "TASKISO_TEST_ALL_GUARDED"

// Each guarded operation is done twice against an isolated loop: it breaks its
// isolation; held, it does not, until the window opens, and then does what it did before.
func TestGuestYieldOperations(t *testing.T) {
	ops := guardedOperations
	if os.Getenv(allGuardedVariable) == "" {
		ops = slices.DeleteFunc(slices.Clone(ops), func(o guardedOperation) bool { return !o.quick })
	}
	for _, o := range ops {
		if o.prepare != nil {
			if err := o.prepare(); err != nil {
				t.Logf("preparing %s: %v", o.name, err)
			}
		}
	}
	by := startOperator(t)
	free := runGuarded(t, by, ops, nil)
	held := runGuarded(t, by, ops, []string{"--hold=" + writeSpec(t)})
	kernel := kernelOf(unameRelease(t))
	for i, o := range ops {
		t.Run(o.name, func(t *testing.T) { compareGuarded(t, o, kernel, free[i], held[i]) })
	}
}

func writeSpec(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hold.toml")
	if err := os.WriteFile(file, []byte("max-wait = \"5m\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// doing is one operation that was made, in CLOCK_MONOTONIC.
type doing struct {
	from     time.Duration
	released time.Duration // when the window opened
	to       time.Duration
	said     string
	waited   []operation.Record // when the window opened
	held     []operation.Record // the same, as the report has them
	breaks   []report.Break
	began    time.Duration
}

// runGuarded makes all operations while a busy loop is observed, which on a busy
// host can begin later than the first of them.
func runGuarded(t *testing.T, by *operator, ops []guardedOperation, args []string) []doing {
	t.Helper()
	for wait := 5 * time.Second; ; wait *= 3 {
		all := observeGuarded(t, by, ops, args, wait)
		if all[0].began <= all[0].from {
			return all
		}
		if wait > 30*time.Second {
			t.Fatalf("the observation had not begun %v after its loop", wait)
		}
		t.Logf("the observation had not begun %v after its loop: once more", wait)
	}
}

// observeGuarded makes all operations some time after the loop has begun.
func observeGuarded(t *testing.T, by *operator, ops []guardedOperation, args []string, wait time.Duration) []doing {
	t.Helper()
	dir := t.TempDir()
	reportFile, eventsFile := filepath.Join(dir, "r.json"), filepath.Join(dir, "e.ndjson")
	c := exec.Command(guestProgram, append([]string{"run", "-q", "-c", fmt.Sprint(victimCPU), "--report", reportFile, "--events", eventsFile}, args...)...)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the busy loop spins", func() bool { return loops(t) > 0 })
	time.Sleep(wait) // it touches memory for its notes for the first time, and what comes meanwhile is no break of its own
	all := make([]doing, len(ops))
	for i, o := range ops {
		all[i] = doGuarded(t, by, o, len(args) > 0)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Errorf("taskiso run: %v", err)
	}
	r := readReport(t, reportFile)
	breaks := readLines[report.Break](t, eventsFile)
	for i := range all {
		all[i].breaks, all[i].began = breaks, r.Began
		for _, h := range r.Holds {
			if slices.ContainsFunc(all[i].waited, func(r operation.Record) bool { return r.ID == h.ID }) {
				all[i].held = append(all[i].held, h)
			}
		}
	}
	if r.Lost.Events > 0 {
		t.Errorf("lost %+v", r.Lost)
	}
	return all
}

func doGuarded(t *testing.T, by *operator, o guardedOperation, withHold bool) doing {
	t.Helper()
	d := doing{from: clock.Now()}
	by.begin(t, o.name)
	if withHold {
		d.waited = waitHeld(t, by)
		time.Sleep(2 * settle)
		d.released = clock.Now()
		order(t, hold.WindowOpen)
	}
	d.said = by.end(t)
	time.Sleep(settle)
	d.to = clock.Now()
	if withHold {
		order(t, hold.WindowAuto)
	}
	return d
}

func order(t *testing.T, w hold.Window) {
	t.Helper()
	if err := hold.Connect(hold.Dir).Order(w, 0); err != nil {
		t.Errorf("ordering the window to be %s: %v", w, err)
	}
}

// waitHeld waits until an operation is held and returns it, or none if it has ended.
func waitHeld(t *testing.T, by *operator) []operation.Record {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline) && len(by.said) == 0; time.Sleep(20 * time.Millisecond) {
		s, err := hold.Connect(hold.Dir).Status()
		if err != nil {
			t.Fatalf("asking what is held: %v", err)
		}
		if len(s.Held) > 0 {
			return s.Held
		}
	}
	return nil
}

// ownBreaks are what interrupts an isolated CPU of these guests without anybody's doing.
var ownBreaks = []string{
	"timer-deadline-server", "ipi-deadline-server", "timer-clocksource-watchdog", "ipi-clocksource", "ipi-tick-kick-timer", "ipi-tick-kick",
	"timer-machine-check", "timer-lockup-watchdog", "timer-hrtick",
	"ipi-tlb-user",                       // of the operator, who was on that CPU before
	"page-fault", "page-fault-protected", // the loop touches memory for its own notes for the first time
	"timer", "tick", "tick-clock-unstable", "timer-wakeup", "work-vmstat", "ipi-rcu-expedited", "ipi-rcu-stall", "tick-rcu", "task-kernel", "work-unbound",
}

func compareGuarded(t *testing.T, o guardedOperation, kernel string, free, held doing) {
	if strings.HasPrefix(free.said, errCannot.Error()) {
		t.Logf("not made on %s: %s", kernel, free.said)
		return
	}
	found := within(free, free.from, free.to)
	broke := slices.ContainsFunc(found, func(b report.Break) bool { return slices.Contains(o.cause, b.ID) })
	if !broke && o.why(kernel) == "" {
		t.Errorf("not held it broke nothing: want one of %v, got %v", o.cause, ids(found))
	}
	if len(held.held) == 0 {
		t.Fatalf("not held: it ended with %q before the window opened", held.said)
	}
	if r := held.held[0]; r.Outcome != operation.Held || r.Reason != operation.ByWindow || r.Operation != o.operation {
		t.Errorf("record %v", r)
	}
	for _, b := range within(held, held.from, held.released) {
		if !slices.Contains(ownBreaks, b.ID) {
			t.Errorf("while it was held: %s", report.BreakLine(b))
		}
	}
	if held.said != free.said {
		t.Errorf("held it said %q, not held %q", held.said, free.said)
	}
	t.Logf("%s: not held %v; held for %v: %v; then %v, result %q", held.held[0].Detail, ids(found), held.held[0].Held.Round(time.Millisecond),
		ids(within(held, held.from, held.released)), ids(within(held, held.released, held.to)), held.said)
}

func within(d doing, from, to time.Duration) []report.Break {
	var list []report.Break
	for _, b := range d.breaks {
		if at := d.began + b.At; at >= from && at <= to {
			list = append(list, b)
		}
	}
	return list
}

// ids counts breaks by cause.
func ids(breaks []report.Break) map[string]int {
	n := make(map[string]int)
	for _, b := range breaks {
		n[b.ID]++
	}
	return n
}

// A reader that reads nothing cannot keep operations held, nor the hold from its end.
func TestGuestYieldThoughNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	fill(t, w)
	c := exec.Command(guestProgram, "hold", "-c", fmt.Sprint(victimCPU))
	c.Stdout = w
	stderr, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	lines := bufio.NewScanner(stderr)
	if !lines.Scan() || !strings.Contains(lines.Text(), "holding for CPU") {
		t.Fatalf("hold prints %q", lines.Text())
	}
	for range 3 { // each is recorded, held or not
		if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(time.Minute, func() { c.Process.Kill() })
	defer hung.Stop()
	var text strings.Builder
	for lines.Scan() {
		text.WriteString(lines.Text() + "\n")
	}
	if c.Wait(); c.ProcessState.ExitCode() != exitFailed || !strings.Contains(text.String(), "nobody reads standard output") {
		t.Errorf("it ended with %v and %q", c.ProcessState, &text)
	}
}

// fill writes to a pipe until it takes no more.
func fill(t *testing.T, w *os.File) {
	t.Helper()
	fd := int(w.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := unix.Write(fd, make([]byte, 1)); errors.Is(err, unix.EAGAIN) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil { // as a program gets it
		t.Fatal(err)
	}
}
