// SPDX-License-Identifier: Apache-2.0

package peers

import (
	"bytes"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// What this process has must not be taken for what it starts.
func TestMemoryIsTheProcessOwn(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 256<<20)
	c := exec.Command("sleep", "60")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	peak := FollowMemory(c.Process.Pid)
	time.Sleep(4 * peakInterval)
	got := peak()
	_ = c.Process.Kill()
	_ = c.Wait()
	runtime.KeepAlive(big)
	if got < 100<<10 || got > 64<<20 {
		t.Errorf("sleep had %d KiB, beside %d MiB of ours", got>>10, len(big)>>20)
	}
}

func TestMemoryOfNobody(t *testing.T) {
	if got := FollowMemory(1 << 30)(); got != 0 {
		t.Errorf("got %d", got)
	}
}
