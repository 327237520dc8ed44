// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"github.com/taskiso/taskiso/internal/partition/change"
)

func numaBalancingKnob() knob {
	return knob{
		name:   "numa-balancing",
		why:    "memory is unmapped to see who uses it: page faults and TLB flushes",
		source: "Documentation/admin-guide/sysctl/kernel.rst: numa_balancing",
		global: true,
		plan:   value("/proc/sys/kernel/numa_balancing", "0"),
		rate:   rate{perHour: 3000, text: "bursts of page faults, one a second or less"},
		reads:  []string{"proc/sys/kernel/numa_balancing"},
	}
}

func hugePagesKnob() knob {
	return knob{
		name:   "thp",
		why:    "khugepaged joins pages of running programs: page faults and interrupts to all CPUs",
		source: "Documentation/admin-guide/mm/transhuge.rst",
		global: true,
		plan:   choice("/sys/kernel/mm/transparent_hugepage/enabled", "never"),
		rate:   rate{perHour: 360, text: "one scan in 10 s (scan_sleep_millisecs)"},
		reads:  []string{"sys/kernel/mm/transparent_hugepage/enabled"},
	}
}

func samePagesKnob() knob {
	return knob{
		name:   "ksm",
		why:    "ksmd write-protects pages of running programs: page faults and TLB flushes",
		source: "Documentation/admin-guide/mm/ksm.rst",
		global: true,
		plan:   planMerging,
		rate:   rate{perHour: 1000, text: "each scan, for processes with mergeable memory"},
		reads:  []string{"sys/kernel/mm/ksm/run"},
	}
}

// planMerging stops ksmd. Separating what is merged already (2) could not be
// undone; stopping can.
func planMerging(h *host) (found, error) {
	var f found
	text, err := h.read("/sys/kernel/mm/ksm/run")
	if err != nil || text != "1" {
		return f, err
	}
	f.changes = []change.Change{{Path: "/sys/kernel/mm/ksm/run", From: text, To: "0", Kind: change.Text{}}}
	f.note("pages that are merged already stay so: the first write to one is a page fault")
	return f, nil
}
