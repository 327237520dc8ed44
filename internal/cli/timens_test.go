// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// timensProgram runs a command in a time namespace.
const timensProgram = "/bin/timens"

// clockProgram is testdata/clock.c.
const clockProgram = "/bin/clock"

// timensVariable names it to the test binary.
const timensVariable = "TASKISO_TEST_TIMENS"

// A process that works now and then is watched from time namespaces whose clocks are ahead of the kernel's, and behind:
// with those nothing lasts any time, and nothing has happened yet.
func TestInTimeNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		t.Skip("this kernel has no time namespaces")
	}
	timens, program := vmtest.Build(t, inC("timens")), buildProgram(t)
	victim := exec.Command("/proc/self/exe")
	victim.Env = append(os.Environ(), namespaceVariable+"= ")
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer victim.Wait()
	defer victim.Process.Kill()
	for _, seconds := range []string{"86400", "-2"} {
		began := time.Now()
		c := exec.Command(timens, seconds, program, "watch", "--json", "-d", "300ms", "-p", strconv.Itoa(victim.Process.Pid))
		var said bytes.Buffer
		c.Stderr = &said
		out, err := c.Output()
		took := time.Since(began)
		var r report.Report
		if err == nil {
			err = json.Unmarshal(out, &r)
		}
		if err != nil {
			t.Fatalf("%s s ahead: %v\n%s%s", seconds, err, said.String(), out)
		}
		var user, kernel time.Duration
		var calls uint64
		for _, c := range r.CPUs {
			user += c.User
			for _, cause := range c.Causes {
				if cause.ID == "syscall" && strings.HasSuffix(cause.Detail, "nanosleep") {
					calls += cause.Count
					kernel += cause.Total
				}
			}
		}
		if !r.Tracing || user == 0 || user > took || calls < 2 || kernel == 0 || kernel > took {
			t.Errorf("%s s ahead: tracing %v, %v in user mode, %d sleeps, %v in the kernel in them, in %v", seconds, r.Tracing, user, calls, kernel, took)
		}
	}
}

// What an isolated thread reads on its pages is of the clock that it reads itself, whatever taskiso reads.
func TestGuestIsolationClock(t *testing.T) {
	c := exec.Command(timensProgram, "86400", guestProgram, "run", "-c", "3", "-q", "--", timensProgram, "-2", clockProgram)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", c, err, out)
	}
}
