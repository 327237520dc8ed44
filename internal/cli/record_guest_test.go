// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A recording of a hold gives the lines and the JSON that the hold itself printed, also if it was killed.
func TestGuestRecordingOfAHold(t *testing.T) {
	for _, tc := range []struct {
		args []string
		end  syscall.Signal
	}{{nil, syscall.SIGTERM}, {[]string{"--json"}, syscall.SIGTERM}, {nil, syscall.SIGKILL}} {
		recording := filepath.Join(t.TempDir(), "hold.rec")
		var stdout, stderr bytes.Buffer
		c := exec.Command(guestProgram, slices.Concat([]string{"hold", "-c", fmt.Sprint(victimCPU), "--max-wait", "300ms", "--record", recording}, tc.args)...)
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		defer c.Process.Kill()
		waitForHold(t)
		for range 3 { // each is recorded, held or not
			if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0); err != nil {
				t.Fatal(err)
			}
		}
		if tc.end == syscall.SIGKILL {
			time.Sleep(6 * time.Second) // longer than a chunk
		}
		if err := c.Process.Signal(tc.end); err != nil {
			t.Fatal(err)
		}
		c.Wait()
		var said bytes.Buffer
		again := exec.Command(guestProgram, slices.Concat([]string{"report", recording}, tc.args)...)
		again.Stderr = &said
		got, err := again.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, &said)
		}
		if n := bytes.Count(got, []byte("drop_caches")); n < 3 || !bytes.Equal(got, stdout.Bytes()) {
			t.Errorf("%v %v: the recording gives\n%s\nand the hold gave\n%s", tc.args, tc.end, got, &stdout)
		}
		if ended := !strings.Contains(said.String(), "the recording has no end"); ended != (tc.end == syscall.SIGTERM) {
			t.Errorf("%v: %s", tc.end, &said)
		}
	}
}

// waitForHold waits until a hold answers.
func waitForHold(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		out, err := exec.Command(guestProgram, "hold", "status").CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v: %s", err, out)
		}
	}
}
