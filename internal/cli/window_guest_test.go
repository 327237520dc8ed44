// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/run"
)

// windowProgram is testdata/window.c.
const windowProgram = "/bin/window"

// An isolated thread opens windows, and otherwise what would break its isolation
// waits. When it leaves for good, nothing waits any more.
func TestGuestYieldWindow(t *testing.T) {
	dir := t.TempDir()
	page := filepath.Join(dir, "orders")
	if err := os.WriteFile(page, make([]byte, os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(page, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	orders, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(orders[4*i:]) }
	say := func(v uint32) { binary.NativeEndian.PutUint32(orders, v) }

	reportFile := filepath.Join(dir, "r.json")
	c := exec.Command(guestProgram, "run", "-c", fmt.Sprint(victimCPU), "--hold="+writeSpec(t), "--settle", "5s", "--report", reportFile, "--", windowProgram, fmt.Sprint(victimCPU), page)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	by := startOperator(t)
	const windows = 5
	slips := 0 // operations that began while nothing was isolated
	late := 0  // operations that took longer than the window waits for them
	for n := range uint32(windows) {
		eventually(t, "the thread is isolated", func() bool { return word(1) == n+1 })
		for before := word(2); ; before = word(2) {
			by.begin(t, "UDP encapsulation")
			if held := waitHeld(t, by); len(held) == 1 {
				break
			}
			if said := by.end(t); said != "done" {
				t.Fatalf("window %d: the operation is not held, and says %q", n, said)
			}
			eventually(t, "an operation was not held because the kernel had broken isolation", func() bool { return word(2) > before })
			slips++
		}
		time.Sleep(2 * settle)
		asked := time.Now()
		say(1)
		if said := by.end(t); said != "done" {
			t.Errorf("window %d: the operation said %q", n, said)
		}
		if time.Since(asked) > run.WindowSettle {
			late++
		}
	}
	eventually(t, "the thread is isolated", func() bool { return word(1) == windows+1 })
	say(2)
	if err := c.Wait(); err != nil {
		t.Errorf("taskiso run: %v", err)
	}
	t.Logf("%s%d operations slipped through, %d took longer than a window", out.String(), slips, late)
	r := readReport(t, reportFile)
	if len(r.Holds) < windows {
		t.Errorf("%d operations in the report, want %d or more: %v", len(r.Holds), windows, r.Holds)
	}
	for _, h := range r.Holds {
		if h.Outcome != operation.Held || h.Reason != operation.ByWindow {
			t.Errorf("record %v", h)
		}
	}
	for _, i := range r.Isolation {
		for _, c := range i.Causes {
			if slips+late == 0 && strings.HasPrefix(c.ID, "ipi-text-patching") {
				t.Errorf("isolation was broken %d times by %s", c.Count, c.ID)
			}
		}
	}
}
