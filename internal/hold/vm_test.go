// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"os"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(operateVariable); name != "" {
		operate(name)
		return
	}
	if isHelper() {
		beHelper()
		return
	}
	vmtest.Main(m)
}

// besideOthers is for guests with several keepers: the verifier of 7.2 takes 20 s for the
// programs of each beside two other guests.
const besideOthers = 6 * time.Minute

// preemptible lets a kernel preempt a task anywhere, as others than Debian's do by default.
const preemptible = vmtest.Isolated + " preempt=full"

// Where BPF is among the security modules nothing passes unseen, whoever is preempted where.
func TestVMPreempted(t *testing.T) {
	vmtest.Run(t, vmtest.Config{Cmdline: preemptible, Tests: "^TestGuest(AsksModules|NothingUnseen)$", Timeout: besideOthers})
}

// withoutModule keeps BPF from being one of the security modules.
const withoutModule = " lsm=landlock,lockdown,yama,apparmor"

// Where it is not it holds as well, and what passes unseen is counted.
func TestVMWithoutModule(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: preemptible + withoutModule,
		Env:     []string{missesVariable + "=1"},
		Tests:   "^TestGuest(AsksModules|NothingUnseen|Released)$/^by_hand$",
		Timeout: besideOthers,
	})
}

// What holding does to those who are held is the same with any isolated CPU.
func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Also:    []string{debian.RealTime},
		Modules: []string{"dummy"},
		Skip:    "^TestGuestNothingUnseen$", // TestVMPreempted
		Timeout: 20 * time.Minute,
	})
}
