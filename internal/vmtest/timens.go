// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// InTimeNamespace runs a command in a time namespace whose CLOCK_MONOTONIC and CLOCK_BOOTTIME are so much ahead, and returns what it printed. The test is
// skipped without root and where there are no such namespaces. From Linux 6.3 on exec enters the one that the thread has made for its children;
// on older kernels fork alone does, and not as Go forks: there the command runs where it would else.
func InTimeNamespace(t *testing.T, ahead time.Duration, c *exec.Cmd) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("making a time namespace needs root")
	}
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		t.Skip("this kernel has no time namespaces")
	}
	var out []byte
	ran := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread and its namespace end with this function
		err := unix.Unshare(unix.CLONE_NEWTIME)
		if err == nil {
			seconds, rest := int64(ahead.Truncate(time.Second)/time.Second), ahead%time.Second
			if rest < 0 {
				seconds, rest = seconds-1, rest+time.Second
			}
			text := fmt.Appendf(nil, "monotonic %[1]d %[2]d\nboottime %[1]d %[2]d\n", seconds, int64(rest))
			err = os.WriteFile(fmt.Sprintf("/proc/%d/timens_offsets", unix.Gettid()), text, 0)
		}
		if err == nil {
			out, err = c.CombinedOutput()
		}
		ran <- err
	}()
	if err := <-ran; err != nil {
		t.Errorf("%v, in a time namespace %v ahead: %v\n%s", c, ahead, err, out)
	}
	return string(out)
}
