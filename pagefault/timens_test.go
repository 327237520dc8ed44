// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestTimes compares times of faults with readings of the clock before and after them.
func TestTimes(t *testing.T) {
	onQuietThread(t)
	m := mapPages(t, 8)
	w := watchTest(t, Thread(0), Options{})
	before := clock.Here()
	for n := range m.pages() {
		m.write(n)
	}
	after := clock.Here()
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, false, m.addresses())
	for _, f := range faults {
		if m.span().contains(f.Address) && (f.Time < before || f.Time > after) {
			t.Errorf("%v: at %v, not between %v and %v", &f, f.Time, before, after)
		}
	}
}

// In a time namespace the clock that a process reads is not that of perf.
func TestTimesInTimeNamespace(t *testing.T) {
	commands := [][]string{{"/proc/self/exe", "-test.run=^TestTimes$", "-test.v"}}
	if _, err := exec.LookPath("gcc"); err == nil {
		commands = append(commands, []string{compile(t, "watch", "-O2")})
	}
	for _, ahead := range []time.Duration{24 * time.Hour, -time.Second} {
		for _, command := range commands {
			out := vmtest.InTimeNamespace(t, ahead, exec.Command(command[0], command[1:]...))
			if strings.Contains(out, "not ok") || !strings.Contains(out, "--- PASS: TestTimes") && !strings.Contains(out, "ok record: time") {
				t.Errorf("%q, %v ahead:\n%s", command, ahead, out)
			}
		}
	}
}
