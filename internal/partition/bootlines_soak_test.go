// SPDX-License-Identifier: Apache-2.0

//go:build soak

package partition

import (
	"testing"

	"github.com/taskiso/taskiso/internal/vmtest"
)

// TestVMBootLines is for make partition-soak: one of its lines is in a boot of its own
// elsewhere, and what kernels do with the others does not change from day to day.
func TestVMBootLines(t *testing.T) {
	for _, line := range []string{
		"nohz_full=2-3 isolcpus=nohz,domain,managed_irq,2-3",
		"isolcpus=nohz,domain,managed_irq,2-3 nohz_full=2-3",
		"isolcpus=nohz,domain,managed_irq,2-3",
		"nohz_full=2-3 isolcpus=domain,managed_irq,2-3", // what is proposed for the first
		`isolcpus="managed_irq,2-3" nohz-full=2-3`,
		"isolcpus=domain,1-2 isolcpus=domain,2-3 nohz_full=1 nohz_full=2-3 isolcpus=all",
		"tsc=unstable nohz_full=2-3 isolcpus=other,managed_irq,2-3",
	} {
		t.Run("", func(t *testing.T) {
			vmtest.Run(t, vmtest.Config{Cmdline: line, Tests: "^TestGuestBootLines"})
		})
	}
}
