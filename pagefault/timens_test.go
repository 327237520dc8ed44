// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
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
	if os.Geteuid() != 0 {
		t.Skip("making a time namespace needs root")
	}
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		t.Skip("this kernel has no time namespaces")
	}
	commands := [][]string{{"/proc/self/exe", "-test.run=^TestTimes$", "-test.v"}}
	if _, err := exec.LookPath("gcc"); err == nil {
		commands = append(commands, []string{compile(t, "watch", "-O2")})
	}
	for _, seconds := range []int{86400, -1} {
		for _, command := range commands {
			out, err := inTimeNamespace(seconds, exec.Command(command[0], command[1:]...))
			if err != nil || strings.Contains(out, "not ok") || !strings.Contains(out, "--- PASS: TestTimes") && !strings.Contains(out, "ok record: time") {
				t.Errorf("%q, %d s ahead: %v\n%s", command, seconds, err, out)
			}
		}
	}
}

// inTimeNamespace runs a command that inherits the namespace of a thread: from Linux 6.3 on, exec enters it.
func inTimeNamespace(seconds int, c *exec.Cmd) (out string, err error) {
	ran := make(chan struct{})
	go func() {
		defer close(ran)
		runtime.LockOSThread() // for good: the thread and its namespace end with this function
		if err = unix.Unshare(unix.CLONE_NEWTIME); err != nil {
			return
		}
		if err = os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()), fmt.Appendf(nil, "monotonic %d 0\n", seconds), 0); err != nil {
			return
		}
		var b []byte
		b, err = c.CombinedOutput()
		out = string(b)
	}()
	<-ran
	return out, err
}
