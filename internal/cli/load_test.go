// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/bench/peers"
	"github.com/taskiso/taskiso/internal/report"
)

// loadVariable makes the test binary the load: it holds how many seconds to
// make calls for, and how many a second.
const loadVariable = "TASKISO_TEST_LOAD"

// load makes getppid calls at a steady rate and prints how many it made.
func load(spec string) {
	seconds, rate, _ := strings.Cut(spec, "x")
	duration, err := time.ParseDuration(seconds + "s")
	if err != nil {
		panic(err)
	}
	perSecond, err := strconv.Atoi(rate)
	if err != nil {
		panic(err)
	}
	runtime.LockOSThread()
	begin := time.Now()
	made := 0
	for d := time.Since(begin); d < duration; d = time.Since(begin) {
		for due := int(d.Seconds() * float64(perSecond)); made < due; made++ {
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	}
	fmt.Println(made)
}

const (
	loadSeconds = 10
	loadCalls   = 100_000 // a second; each is two events
	maxMemory   = 64 << 20
)

// Under 200,000 events a second every call is reported, or counted as lost, with bounded memory: also when taskiso is
// kept from reading until its rings are full.
func TestLoad(t *testing.T) {
	t.Run("reading", func(t *testing.T) { testLoad(t, func(*os.Process) {}) })
	t.Run("kept from reading", func(t *testing.T) {
		lost := testLoad(t, func(p *os.Process) {
			for range loadSeconds / 2 {
				time.Sleep(time.Second)
				p.Signal(unix.SIGSTOP)
				time.Sleep(time.Second)
				p.Signal(unix.SIGCONT)
			}
		})
		if lost == 0 {
			t.Error("nothing was lost: the rings were never full")
		}
	})
}

// testLoad returns how many events were lost.
func testLoad(t *testing.T, disturb func(*os.Process)) uint64 {
	t.Helper()
	if testing.Short() {
		t.Skip("takes 10 seconds; run without -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("tracing needs root")
	}
	program, self := buildProgram(t), testBinary(t)
	file := filepath.Join(t.TempDir(), "report.json")
	var stdout, stderr bytes.Buffer
	var memory int64
	var err error
	untilFree(func() string {
		stdout.Reset()
		stderr.Reset()
		c := exec.Command(program, "run", "-q", "--report", file, "--", self)
		c.Env = append(os.Environ(), fmt.Sprintf("%s=%dx%d", loadVariable, loadSeconds, loadCalls))
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		peak := peers.FollowMemory(c.Process.Pid)
		disturb(c.Process)
		err = c.Wait()
		memory = peak()
		return stderr.String()
	})
	if err != nil {
		t.Fatalf("%v; %s", err, &stderr)
	}
	made, err := strconv.ParseUint(strings.TrimSpace(stdout.String()), 10, 64)
	if err != nil {
		t.Fatalf("parsing the number of calls made: %v", err)
	}
	if made == 0 {
		t.Fatal("the load made no call")
	}
	// On a busy machine the load may not come to its rate. Each call counts all the same; that rings were
	// full is told by what was lost.
	if made < loadSeconds*loadCalls*9/10 {
		t.Logf("the load made only %d calls in %d s", made, loadSeconds)
	}
	r := readReport(t, file)
	var reported, lost uint64
	for _, cpu := range r.CPUs {
		for _, cause := range cpu.Causes {
			if cause.ID == "syscall" && cause.Detail == "getppid" {
				reported += cause.Count
			}
		}
		for _, e := range cpu.Events {
			if e.Name == "sys_enter" {
				lost += e.Lost
			}
		}
	}
	t.Logf("made %d, reported %d, lost %d (of all system calls), memory %d MiB", made, reported, lost, memory>>20)
	if lost == 0 && reported != made {
		t.Errorf("reported %d of %d calls, lost none", reported, made)
	}
	if reported > made || reported+lost < made {
		t.Errorf("reported %d and lost %d of %d calls", reported, lost, made)
	}
	if memory == 0 || memory > maxMemory {
		t.Errorf("taskiso used %d MiB of memory, more than %d", memory>>20, maxMemory>>20)
	}
	return lost
}

// With a buffer that is much too small the report says how many events were lost,
// and when, and claims no quiet time over that.
func TestLossIsReported(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("tracing needs root")
	}
	dir := t.TempDir()
	file, recording := filepath.Join(dir, "report.json"), filepath.Join(dir, "run.rec")
	program, self := buildProgram(t), testBinary(t)
	var stdout, stderr bytes.Buffer
	var err error
	untilFree(func() string {
		stdout.Reset()
		stderr.Reset()
		c := exec.Command(program, "run", "--buffer", fmt.Sprintf("%dK", os.Getpagesize()>>10), "--report", file, "--record", recording, "--", self)
		c.Env = append(os.Environ(), loadVariable+"=0.4x50000") // so short that every interval of loss is listed
		c.Stdout, c.Stderr = &stdout, &stderr
		err = c.Run()
		return stderr.String()
	})
	if err != nil {
		t.Fatalf("%v; %s", err, &stderr)
	}
	checkRecording(t, program, recording, file)
	r := readReport(t, file)
	var inIntervals, calls uint64
	for _, i := range r.Lost.Intervals {
		if i.From >= i.To || i.Events == 0 {
			t.Errorf("interval %+v", i)
		}
		inIntervals += i.Events
	}
	for _, cpu := range r.CPUs {
		for _, e := range cpu.Events {
			if e.Name == "sys_enter" {
				calls += e.Lost
			}
		}
		if cpu.Lost > 0 && cpu.Verdict == report.VerdictQuiet {
			t.Errorf("CPU %d is called quiet though %d events were lost", cpu.CPU, cpu.Lost)
		}
		// The load never rests longer than between two calls, 20 µs, unless it is held up.
		if cpu.Lost > calls && cpu.Quiet.Longest > 100*time.Millisecond {
			t.Errorf("CPU %d is said to have been quiet for %v", cpu.CPU, cpu.Quiet.Longest)
		}
	}
	t.Logf("%d events lost, %d in %d intervals, %d more intervals not listed; %d calls",
		r.Lost.Events, inIntervals, len(r.Lost.Intervals), r.Lost.OmittedIntervals, calls)
	made, err := strconv.ParseUint(strings.TrimSpace(stdout.String()), 10, 64)
	if err != nil {
		t.Fatalf("parsing the number of calls made: %v", err)
	}
	if calls < made/2 {
		t.Errorf("%d of %d calls lost: the buffer was not small", calls, made)
	}
	// Intervals that are not listed have lost events as well, one at least each.
	if rest := r.Lost.Events - inIntervals; inIntervals > r.Lost.Events || rest < uint64(r.Lost.OmittedIntervals) || r.Lost.OmittedIntervals == 0 && rest > 0 {
		t.Errorf("%d events lost in %d intervals, %d in all, %d intervals not listed", inIntervals, len(r.Lost.Intervals), r.Lost.Events, r.Lost.OmittedIntervals)
	}
	var onCPUs uint64
	for _, cpu := range r.CPUs {
		onCPUs += cpu.Lost
	}
	if onCPUs > r.Lost.Events || onCPUs < calls {
		t.Errorf("%d events lost on the observed CPUs, %d in all, %d of them calls", onCPUs, r.Lost.Events, calls)
	}
	if !strings.Contains(stderr.String(), "lost") {
		t.Errorf("the text says nothing of it:\n%s", stderr.String())
	}
}

func testBinary(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}
