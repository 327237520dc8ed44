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
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// loadVariable makes the test binary the load: it holds how many seconds to
// make calls for, and how many a second.
const loadVariable = "TASKISO_TEST_LOAD"

// load makes getppid calls at a steady rate and prints how many it made.
func load(spec string) {
	seconds, rate, _ := strings.Cut(spec, "x")
	duration, err := strconv.Atoi(seconds)
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
	for d := time.Since(begin); d < time.Duration(duration)*time.Second; d = time.Since(begin) {
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

// Under 200,000 events a second every call is reported, or counted as lost.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 seconds; run without -short")
	}
	if os.Geteuid() != 0 {
		t.Skip("tracing needs root")
	}
	program, self := buildProgram(t), testBinary(t)
	file := filepath.Join(t.TempDir(), "report.json")
	c := exec.Command(program, "run", "-q", "--report", file, "--", self)
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%dx%d", loadVariable, loadSeconds, loadCalls))
	var stdout bytes.Buffer
	c.Stdout, c.Stderr = &stdout, os.Stderr
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	made, err := strconv.ParseUint(strings.TrimSpace(stdout.String()), 10, 64)
	if err != nil {
		t.Fatalf("parsing the number of calls made: %v", err)
	}
	if made < loadSeconds*loadCalls*9/10 {
		t.Fatalf("the load made only %d calls in %d s", made, loadSeconds)
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
	memory := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	t.Logf("made %d, reported %d, lost %d (of all system calls), memory %d MiB", made, reported, lost, memory>>20)
	if lost == 0 && reported != made {
		t.Errorf("reported %d of %d calls, lost none", reported, made)
	}
	if reported > made || reported+lost < made {
		t.Errorf("reported %d and lost %d of %d calls", reported, lost, made)
	}
	if memory > maxMemory {
		t.Errorf("taskiso used %d MiB of memory, more than %d", memory>>20, maxMemory>>20)
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
