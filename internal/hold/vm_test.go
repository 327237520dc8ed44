// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"os"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(operateVariable); name != "" {
		operate(name)
		return
	}
	vmtest.Main(m)
}

// preemptible lets a kernel preempt a task anywhere, as others than Debian's do by default.
const preemptible = vmtest.Isolated + " preempt=full"

// Where BPF is among the security modules nothing passes unseen, whoever is preempted where.
func TestVMPreempted(t *testing.T) {
	vmtest.Run(t, vmtest.Config{Cmdline: preemptible, Tests: "^TestGuest(AsksModules|NothingUnseen)$"})
}

// withoutModule keeps BPF from being one of the security modules.
const withoutModule = " lsm=landlock,lockdown,yama,apparmor"

// Where it is not it holds as well, and what passes unseen is counted.
func TestVMWithoutModule(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: preemptible + withoutModule,
		Env:     []string{missesVariable + "=1"},
		Tests:   "^TestGuest(AsksModules|NothingUnseen|Released)$/^by_hand$",
	})
}

// What holding does to those who are held is the same with any isolated CPU.
func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Files:   vmtest.Modules(t, "dummy"),
		Args:    []string{"-test.skip=^TestGuestNothingUnseen$"}, // TestVMPreempted
		Timeout: 4 * time.Minute,
	})
}
