// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// isolationProgram is testdata/isolation.c.
const isolationProgram = "/bin/isolation"

// The semantics of prctl(48), case by case.
func TestGuestIsolation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	args := []string{"run", "-c", "2-3", "--report", file, "--", isolationProgram, fmt.Sprint(victimCPU), "2", "1"}
	c := exec.Command(guestProgram, args...)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	cases := 0
	for line := range strings.Lines(string(out)) {
		name := strings.TrimSpace(line)
		if strings.HasPrefix(name, "FAIL ") {
			t.Error(name)
		}
		if !strings.HasPrefix(name, "disturbed: ") {
			cases++
		}
	}
	t.Logf("%d cases:\n%s", cases, out)
	if err != nil || cases < 30 {
		t.Errorf("%v after %d cases\n%s", err, cases, stderr.String())
	}
	r := readReport(t, file)
	var entered, breaks uint64
	for _, i := range r.Isolation {
		entered, breaks = entered+i.Entered, breaks+i.Breaks
	}
	t.Logf("%d threads, entered %d times, %d breaks", len(r.Isolation), entered, breaks)
	if entered < 50 || breaks < 30 || breaks > entered {
		t.Errorf("the report has %d entries and %d breaks", entered, breaks)
	}
}

// When taskiso is killed, the page of a thread that is isolated says so, and the
// thread's next call fails.
func TestGuestIsolationEndsWithItsWatch(t *testing.T) {
	for range 5 {
		said := killWatch(t)
		if said == "unwatched: isolated 0 cause unwatched signals 1" {
			return
		}
		// The kernel disturbed the thread before.
		if !strings.HasPrefix(said, "unwatched: isolated 0 ") || !strings.HasSuffix(said, " signals 2") {
			t.Fatalf("the page: %q", said)
		}
		t.Logf("disturbed: %s", said)
	}
	t.Error("disturbed each time")
}

// killWatch kills taskiso while a thread is isolated and returns what that says.
func killWatch(t *testing.T) string {
	c := exec.Command(guestProgram, "run", "-q", "-c", "2-3", "--", isolationProgram, fmt.Sprint(victimCPU), "2", "1", "until-unwatched")
	c.Stderr = os.Stderr
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "isolated" {
		t.Fatalf("%q, want a thread that is isolated", lines.Text())
	}
	time.Sleep(settle)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	lines.Scan()
	said := lines.Text()
	if !lines.Scan() || lines.Text() != "then: -38" { // ENOSYS: nobody answers
		t.Errorf("%q, want that no call is answered", lines.Text())
	}
	return said
}
