// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"os"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

func TestMain(m *testing.M) {
	if what := os.Getenv(childVariable); what != "" {
		beChild(what)
		return
	}
	if os.Getenv(sleepVariable) != "" {
		time.Sleep(time.Hour)
	}
	vmtest.Main(m)
}

func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: "nohz_full=2,3",
		Daemons: true,
		Skip:    underSystemd + "|" + bootIsolated + "|" + plainBoot,
		Timeout: 20 * time.Minute,
	})
}

// TestVMBootIsolated is on a machine that was set up as books say, before.
func TestVMBootIsolated(t *testing.T) {
	vmtest.Run(t, vmtest.Config{Cmdline: "isolcpus=managed_irq,domain,2-3 nohz_full=2-3", Tests: bootIsolated + "|^TestGuestBootLines"})
}

// TestVMPlain is on a machine whose kernel has no CPUs that it keeps free of its threads, of the newest kernel only: before
// 6.14 every kernel thread began with all CPUs.
func TestVMPlain(t *testing.T) {
	vmtest.Run(t, vmtest.Config{Cmdline: "quiet", Kernels: []string{"sid"}, Tests: plainBoot})
}

// plainBoot are the tests that need a boot without isolated CPUs.
const plainBoot = "^TestGuestPlain"

// bootIsolated are the tests that need CPUs isolated at boot.
const bootIsolated = "^TestGuestBootIsolated"

// underSystemd are the tests that need systemd as the first process.
const underSystemd = "^TestGuestUnderSystemd"

// TestVMSystemd has the newest systemd; make partition-soak has the older ones too.
func TestVMSystemd(t *testing.T) {
	c := vmtest.Config{Cmdline: "nohz_full=2,3", Systemd: true, Tests: underSystemd}
	if !thorough {
		c.Kernels = []string{"sid"}
	}
	vmtest.Run(t, c)
}
