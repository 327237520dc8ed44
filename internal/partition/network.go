// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

func deferredFreeKnob() knob {
	return knob{
		name:   "skb-defer",
		why:    "packets are freed on the CPU that allocated them, which gets an interrupt for it",
		source: "Documentation/admin-guide/sysctl/net.rst: skb_defer_max",
		global: true,
		plan:   value("/proc/sys/net/core/skb_defer_max", "0"),
		rate:   rate{perHour: 1000, text: "each burst of packets that it received"},
		reads:  []string{"proc/sys/net/core/skb_defer_max"},
	}
}

func packetSteeringKnob() knob {
	return knob{
		name:    "rps",
		why:     "packets received elsewhere are processed on the CPUs of these masks, which get an interrupt for it",
		source:  "Documentation/networking/scaling.rst",
		plan:    planPacketSteering,
		rate:    rate{perHour: 9000, text: "each burst of packets"},
		targets: partsOf(4), // /sys/class/net/NAME/queues/rx-0/rps_cpus
		reads:   []string{"sys/class/net/*/queues/rx-*/rps_cpus"},
	}
}

// planPacketSteering may leave a mask empty, which switches steering off.
func planPacketSteering(h *host) (found, error) {
	var f found
	paths, err := h.glob("/sys/class/net/*/queues/rx-*/rps_cpus")
	if err != nil {
		return f, err
	}
	for _, p := range paths {
		changes, err := h.keepOff(p, change.Mask{}, cpulist.Set{})
		if err != nil {
			return f, err
		}
		f.changes = append(f.changes, changes...)
	}
	return f, nil
}

func defaultSteeringKnob() knob {
	return knob{
		name:   "rps-default",
		why:    "network devices that come later start with this mask",
		source: "Documentation/admin-guide/sysctl/net.rst: rps_default_mask",
		plan:   planDefaultSteering,
		rate:   rate{perHour: 10, text: "each burst of packets of a device that comes later"},
		reads:  []string{"proc/sys/net/core/rps_default_mask"},
	}
}

func planDefaultSteering(h *host) (found, error) {
	changes, err := h.keepOff("/proc/sys/net/core/rps_default_mask", change.Mask{}, cpulist.Set{})
	return found{changes: changes}, err
}
