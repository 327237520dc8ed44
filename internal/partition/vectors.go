// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// vectorsPerCPU is about how many interrupts of devices a CPU of x86 can have: 256
// vectors without those of exceptions and of the kernel itself
// (arch/x86/include/asm/irq_vectors.h).
const vectorsPerCPU = 200

// vectorWarning says that so many interrupts are more than the housekeeping CPUs can
// take. Other architectures have no vectors of their own for each CPU.
func (h *host) vectorWarning(interrupts int) string {
	room := h.housekeeping.Len() * vectorsPerCPU
	if _, err := h.machineCheck(); err != nil || interrupts <= room {
		return ""
	}
	return fmt.Sprintf("about %d interrupts are to go to %d housekeeping CPUs, which have room for some %d (about %d vectors each): the rest stays where it is or gets no vector, and a device may not start (cause irq-vectors-exhausted); leave at least %d CPUs for housekeeping, or have fewer queues",
		interrupts, h.housekeeping.Len(), room, vectorsPerCPU, (interrupts+vectorsPerCPU-1)/vectorsPerCPU)
}

func (h *host) irqNumbers() []int {
	numbers, _ := h.interrupts() // a machine that does not list them is not warned of
	return numbers
}

// machineCheck returns the directory of a CPU with settings for machine checks, which
// only x86 has. There is none of a CPU that is offline, which may be CPU 0.
func (h *host) machineCheck() (dir string, err error) {
	const top = "/sys/devices/system/machinecheck"
	for cpu := range h.Online.All() {
		dir := fmt.Sprintf("%s/machinecheck%d", top, cpu)
		if h.exists(dir) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no %s: %w", top, errLacking)
}

// planMachineCheck sets the period through one CPU: one variable of the kernel stands
// behind the files of all.
func planMachineCheck(h *host) (found, error) {
	dir, err := h.machineCheck()
	if err != nil {
		return found{}, err
	}
	changes, err := h.set(dir+"/check_interval", change.Text{}, "0")
	return found{changes: changes}, err
}
