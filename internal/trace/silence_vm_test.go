// SPDX-License-Identifier: Apache-2.0

//go:build soak

package trace

import (
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMSilence takes minutes on each kernel and is part of make soak.
func TestVMSilence(t *testing.T) {
	// What interrupts an idle isolated CPU anyway is switched off as far as the
	// kernel lets us; see docs/causes.md.
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated + " tsc=nowatchdog transparent_hugepage=never nmi_watchdog=0",
		Timeout: 5 * time.Minute, // the spinning CPU leaves the guest's others little of the emulator
	})
}
