// SPDX-License-Identifier: Apache-2.0

//go:build soak

package cli

import (
	"os/exec"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMProvocations takes minutes on each kernel.
func TestVMProvocations(t *testing.T) {
	files := vmtest.Modules(t, "crc7", "brd")
	files[guestProgram] = buildProgram(t)
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Files:   files,
		Tests:   "^TestGuestProvocations$",
		Timeout: 10 * time.Minute,
	})
}

// TestVMSilence takes eight minutes on each kernel.
func TestVMSilence(t *testing.T) {
	files := map[string]string{guestProgram: buildProgram(t)}
	for _, peer := range []string{"bpftrace", "perf", "trace-cmd"} {
		if path, err := exec.LookPath(peer); err == nil {
			files["/bin/"+peer] = path
		}
	}
	vmtest.Run(t, vmtest.Config{
		// What interrupts an isolated CPU anyway is switched off as far as the
		// kernel lets us; see docs/causes.md.
		Cmdline: vmtest.Isolated + " tsc=nowatchdog transparent_hugepage=never nmi_watchdog=0",
		Files:   files,
		Tests:   "^TestGuestSilence$",
		Memory:  2048, // for the peers and their libraries
		Timeout: 20 * time.Minute,
	})
}
