// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	task "github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// flown runs a command under a flight recorder, and returns the report, the snapshots and what was printed.
func flown(t *testing.T, program, dir string, flags []string, command ...string) (*report.Report, []string, string) {
	t.Helper()
	var out []byte
	file := filepath.Join(t.TempDir(), "flown.json")
	args := append([]string{"run", "--flight", "32M,60s", "--snapshot-dir", dir, "--report", file}, flags...)
	untilFree(func() string {
		c := exec.Command(program, append(append(args, "--"), command...)...)
		var err error
		if out, err = c.CombinedOutput(); err != nil {
			t.Logf("%v: %s", err, out)
		}
		return string(out)
	})
	r := readReport(t, file)
	return &r, glob(t, filepath.Join(dir, "snapshot-*.rec")), string(out)
}

// replayed returns the report of a recording.
func replayed(t *testing.T, program, recording string) *report.Report {
	t.Helper()
	out, err := exec.Command(program, "report", "--json", recording).Output()
	if err != nil {
		t.Fatalf("%s: %v", recording, err)
	}
	var r report.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

// checkRare checks that a snapshot has a rare cause, with its sender and stack, and so much before it.
func checkRare(t *testing.T, r *report.Report, before time.Duration) {
	t.Helper()
	if r.Part == nil || r.Part.Snapshot == nil || r.Part.Snapshot.Trigger != "cause=ipi-membarrier" || r.Part.Snapshot.At != before || r.Duration <= before {
		t.Fatalf("the part is %+v of %v", r.Part, r.Duration)
	}
	for _, c := range r.CPUs {
		i := slices.IndexFunc(c.Causes, func(c report.Cause) bool { return c.ID == "ipi-membarrier" })
		if i < 0 {
			continue
		}
		if o := c.Causes[i].Origins; len(o) == 0 || o[0].Name != "rare" || !strings.Contains(strings.Join(o[0].Stack, " "), "membarrier") {
			t.Errorf("it comes from %+v", o)
		}
		return
	}
	t.Errorf("the cause is not in the snapshot: %+v", r.CPUs)
}

// A cause that comes after a million events, or as many as a busy machine lets a program make, is in the only snapshot, with its sender and the ten seconds before it. Memory never passes the bound.
func TestFlightKeepsARareCause(t *testing.T) {
	if os.Geteuid() != 0 || testing.Short() {
		t.Skip("tracing needs root; it takes 16 seconds")
	}
	program, rare := buildProgram(t), vmtest.Build(t, inC("rare"))
	r, files, out := flown(t, program, filepath.Join(t.TempDir(), "snapshots"), []string{"--buffer", "16M", "--snapshot", "cause=ipi-membarrier"}, rare, "12", "0")
	if len(files) != 1 || r.Flight == nil {
		t.Fatalf("%d snapshots, %s: %s", len(files), r.Flight, out)
	}
	var seen uint64
	for _, c := range r.CPUs {
		for _, e := range c.Events {
			seen += e.Seen
		}
	}
	if seen < 100_000 || r.Flight.Peak > r.Flight.Bound || r.Flight.Bound != 32<<20 || r.Flight.Failed != 0 {
		t.Errorf("%d events, %s, up to %d bytes of %d", seen, r.Flight, r.Flight.Peak, r.Flight.Bound)
	}
	checkRare(t, replayed(t, program, files[0]), 10*time.Second)
	if !strings.Contains(out, "taskiso: snapshot "+files[0]) {
		t.Errorf("it printed %s", out)
	}
}

// askVariable makes the test binary ask for a snapshot with a number.
const askVariable = "TASKISO_TEST_ASK"

func askForSnapshot(number string) error {
	runtime.LockOSThread()
	n, err := strconv.Atoi(number)
	if err != nil {
		return err
	}
	cpus, err := affinity.Of(0)
	if err != nil {
		return err
	}
	cpu, _ := cpus.First()
	thread, err := task.Open(cpu)
	if err != nil {
		return err
	}
	time.Sleep(time.Second)
	thread.Snapshot(uint32(n))
	time.Sleep(time.Second)
	return thread.Close()
}

// A thread asks for a snapshot with one store, in C and Go; so does a signal to taskiso, and another shell.
func TestFlightIsAsked(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("tracing needs root")
	}
	program, rare := buildProgram(t), vmtest.Build(t, inC("rare"))
	dir := filepath.Join(t.TempDir(), "snapshots")
	short := []string{"--snapshot-before", "500ms", "--snapshot-after", "10ms"}
	r, files, out := flown(t, program, dir, short, rare, "ask", "4711")
	if len(files) != 1 || r.Task.Status == nil || *r.Task.Status != 0 {
		t.Fatalf("%d snapshots, %+v: %s", len(files), r.Task, out)
	}
	if s := replayed(t, program, files[0]).Part.Snapshot; s.Trigger != "taskiso_snapshot" || !strings.Contains(s.Reason, "with number 4711") {
		t.Errorf("%+v", s)
	}
	_, files, out = flown(t, program, filepath.Join(dir, "go"), short, "env", askVariable+"=4712", testBinary(t))
	if len(files) != 1 || !strings.Contains(replayed(t, program, files[0]).Part.Snapshot.Reason, "with number 4712") {
		t.Errorf("in Go %d snapshots: %s", len(files), out)
	}
	// The one for the signal may still be written when the other is asked for: then it is to be asked for again.
	script := fmt.Sprintf("sleep 1; kill -USR1 $PPID; sleep 1; for try in $(seq 50); do %s snapshot $PPID && exit; sleep 0.2; done", program)
	r, files, out = flown(t, program, filepath.Join(dir, "2"), short, "sh", "-c", script)
	var triggers []string
	for _, f := range files {
		triggers = append(triggers, replayed(t, program, f).Part.Snapshot.Trigger)
	}
	slices.Sort(triggers)
	if !slices.Equal(triggers, []string{"SIGUSR1", "taskiso snapshot"}) || !strings.Contains(out, "snapshot-") {
		t.Errorf("%q, %s: %s", triggers, r.Flight, out)
	}
}

// A recorder that is killed at any moment leaves no snapshot that is not whole.
func TestSnapshotsOfAKilledRecorder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("tracing needs root")
	}
	program, self := buildProgram(t), testBinary(t)
	dir := filepath.Join(t.TempDir(), "snapshots")
	for range 5 {
		untilFree(func() string { return killFlight(t, program, self, dir) })
	}
	files := glob(t, filepath.Join(dir, "snapshot-*.rec"))
	for _, f := range files {
		if r := replayed(t, program, f); r.Part == nil || strings.Contains(strings.Join(r.Limits, "\n"), "has no end") {
			t.Errorf("%s: %+v, %q", f, r.Part, r.Limits)
		}
	}
	if len(files) == 0 {
		t.Error("there are no snapshots")
	}
}

// killFlight kills a recorder that takes one snapshot after the other, after there is one, and returns what it printed.
func killFlight(t *testing.T, program, self, dir string) string {
	t.Helper()
	var stderr bytes.Buffer
	c := exec.Command(program, "run", "--flight", "32M,60s", "--snapshot-dir", dir, "--snapshot", "count>0", "--snapshot-before", "100ms", "--snapshot-after", "10ms", "--", self)
	c.Env = append(os.Environ(), loadVariable+"=60x100000")
	c.Stderr, c.SysProcAttr = &stderr, &unix.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	before := len(snapshotsIn(dir))
	for {
		select {
		case <-ended:
			return stderr.String()
		case <-time.After(time.Duration(10+rand.IntN(200)) * time.Millisecond):
		}
		if len(snapshotsIn(dir)) > before {
			unix.Kill(-c.Process.Pid, unix.SIGKILL)
			<-ended
			return stderr.String()
		}
	}
}

func snapshotsIn(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "snapshot-*.rec"))
	return files
}
