// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	c := exec.Command(guestProgram, "run", "-q", "-c", "2-3", "--", isolationProgram, fmt.Sprint(victimCPU), "2", "1", "until-unwatched")
	c.Stderr = os.Stderr
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Process.Kill()
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "isolated" {
		t.Fatalf("%q, want a thread that is isolated", lines.Text())
	}
	time.Sleep(settle)
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The kernel may have disturbed the thread before.
	want := regexp.MustCompile(`^unwatched: isolated 0 cause (unwatched signals 1|[a-z -]+ interrupt signals 2)$`)
	if !lines.Scan() || !want.MatchString(lines.Text()) {
		t.Errorf("%q, want %q", lines.Text(), want)
	}
	if !lines.Scan() || lines.Text() != "then: -38" { // ENOSYS: nobody answers
		t.Errorf("%q, want that no call is answered", lines.Text())
	}
	c.Wait()
}
