// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"slices"

	"github.com/taskiso/taskiso/internal/partition/change"
)

func siblingsKnob() knob {
	return knob{
		name:   smtSetting,
		why:    "another thread of the same core takes part of what the core can do, and its work waits for no kernel entry",
		source: "Documentation/ABI/testing/sysfs-devices-system-cpu: topology/core_cpus_list, online",
		plan:   planSiblings,
		rate:   rate{perHour: 0, text: "no interrupt: it slows down what runs"},
		reads:  []string{"sys/devices/system/cpu/cpu[0-9]*/online"},
	}
}

// planSiblings takes the other threads of isolated cores offline, if the spec
// wants that. It comes after the masks, which the kernel changes when a CPU goes.
func planSiblings(h *host) (found, error) {
	var f found
	others := h.siblings.Minus(h.cpus).Intersect(h.Online)
	switch {
	case h.siblingsError != nil:
		return f, h.siblingsError
	case others.IsEmpty():
		return f, because(errNeedless, "no other thread is online on these cores")
	case h.spec.Siblings != Offline:
		return f, because(errLeft, "CPU %v %s online, because the spec does not name siblings", others, either(others, "stays", "stay"))
	}
	for cpu := range others.All() {
		changes, err := h.set(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", cpu), change.Text{}, "0")
		if err != nil {
			return f, err
		}
		f.changes = append(f.changes, changes...)
	}
	f.note("threads that are pinned to CPU %v alone may then run elsewhere", others)
	return f, nil
}

func cycleKnob() knob {
	return knob{
		name:   cycleSetting,
		why:    "timers that are armed again where they expire, and interrupts that rarely occur, stay on their CPU for good",
		source: "Documentation/admin-guide/kernel-per-CPU-kthreads.rst, Documentation/core-api/cpu_hotplug.rst",
		plan:   planCycle,
		reads:  []string{"sys/devices/system/cpu/cpu[0-9]*/online"},
	}
}

// planCycle takes each isolated CPU offline and online again, if the spec wants
// that: timers, work and interrupts that are there for good then go elsewhere.
func planCycle(h *host) (found, error) {
	var f found
	if !h.spec.Cycle && !slices.Contains(h.spec.Require, cycleSetting) {
		return f, because(errLeft, "timers and work that were armed on these CPUs before stay there; --cycle (cycle = true) moves them, and stops for a moment what runs there")
	}
	for cpu := range h.cpus.All() {
		file := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/online", cpu)
		if _, err := h.read(file); err != nil {
			return f, err
		}
		f.changes = append(f.changes, change.Change{Path: file, From: "1", To: "1", Kind: change.Cycle{}})
	}
	f.note("threads that are pinned to these CPUs alone may then run elsewhere")
	return f, nil
}
