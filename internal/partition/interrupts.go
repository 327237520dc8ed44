// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/taskiso/taskiso/internal/partition/change"
)

func irqDefaultKnob() knob {
	return knob{
		name:   "irq-default",
		why:    "interrupts that are set up later go to any CPU of this mask",
		source: "Documentation/core-api/irq/irq-affinity.rst",
		plan:   masked("/proc/irq/default_smp_affinity"),
		rate:   rate{perHour: 10, text: "each interrupt of a device that comes later"},
		reads:  []string{"proc/irq/default_smp_affinity"},
	}
}

func irqAffinityKnob() knob {
	return knob{
		name:    "irq-affinity",
		why:     "a device interrupts the CPUs of its mask",
		source:  "Documentation/core-api/irq/irq-affinity.rst",
		plan:    planInterrupts,
		rate:    rate{perHour: 20000, text: "each interrupt of the device"},
		targets: interruptsOf,
		reads:   []string{"proc/irq/*/smp_affinity_list"},
	}
}

// planInterrupts moves each interrupt away that can be moved. Newer kernels
// show by the mode of the file which ones cannot (register_irq_proc); older
// ones refuse the write.
func planInterrupts(h *host) (found, error) {
	var f found
	numbers, err := h.interrupts()
	if err != nil {
		return f, err
	}
	seen := false
	theirs := 0 // interrupts that are on housekeeping CPUs then
	for _, n := range numbers {
		file := "/proc/irq/" + strconv.Itoa(n) + "/smp_affinity_list"
		text, writable, err := h.readWritable(file)
		if errors.Is(err, errLacking) {
			continue // it went away meanwhile
		}
		if err != nil {
			return f, err
		}
		seen = true
		changes, err := h.without(file, text, change.List{}, h.housekeeping)
		if err != nil {
			return f, err
		}
		if len(changes) > 0 && !writable {
			f.fixed = append(f.fixed, n)
			continue
		}
		theirs++
		for _, c := range changes {
			c.MayFail = true
			f.changes = append(f.changes, c)
		}
	}
	if !seen {
		return f, errors.New("/proc/irq shows no interrupt, and every machine has some: look from the host itself")
	}
	f.short = vectorWarning(h, theirs)
	if len(f.fixed) > 0 {
		f.note("IRQ %s: the kernel lets nobody move these; boot with isolcpus=managed_irq,%v, or have fewer queues", ranges(f.fixed), h.cpus)
	}
	return f, nil
}

// interruptsOf returns the numbers in /proc/irq/N/smp_affinity_list.
func interruptsOf(changes []change.Change) []string {
	var numbers []int
	for _, part := range partsOf(3)(changes) {
		if n, err := strconv.Atoi(part); err == nil {
			numbers = append(numbers, n)
		}
	}
	if len(numbers) == 0 {
		return nil
	}
	return []string{"IRQ " + ranges(numbers)}
}

// ranges writes ascending numbers as a CPU list does; interrupts can have
// higher numbers than CPUs.
func ranges(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		part := strconv.Itoa(numbers[i])
		if j > i {
			part += "-" + strconv.Itoa(numbers[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// vectorsPerCPU is about how many interrupts of devices a CPU of x86 can have: 256
// vectors without those of exceptions and of the kernel itself
// (arch/x86/include/asm/irq_vectors.h).
const vectorsPerCPU = 200

// vectorWarning warns if the number of interrupts is more than the housekeeping CPUs can
// take. Other architectures have no vectors of their own for each CPU.
func vectorWarning(h *host, interrupts int) string {
	room := h.housekeeping.Len() * vectorsPerCPU
	if _, err := h.machineCheck(); err != nil || interrupts <= room {
		return ""
	}
	return fmt.Sprintf("about %d interrupts are to go to %d housekeeping CPUs, which have room for some %d (about %d vectors each): the rest stays where it is or gets no vector, and a device may not start (cause irq-vectors-exhausted); leave at least %d CPUs for housekeeping, or have fewer queues",
		interrupts, h.housekeeping.Len(), room, vectorsPerCPU, (interrupts+vectorsPerCPU-1)/vectorsPerCPU)
}
