// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

func idleLatencyKnob() knob {
	return knob{
		name:   "pm-qos",
		why:    "waking from a deep idle state takes long: with 0 the CPU may enter all of them, with \"n/a\" none that it takes time to leave",
		source: "Documentation/ABI/testing/sysfs-devices-power: pm_qos_resume_latency_us",
		plan:   perCPU("/sys/devices/system/cpu/cpu%d/power/pm_qos_resume_latency_us", "n/a"),
		rate:   rate{perHour: 0, text: "no interrupt: it takes longer to wake up"},
		reads:  []string{"sys/devices/system/cpu/cpu[0-9]*/power/pm_qos_resume_latency_us"},
	}
}

func governorKnob() knob {
	return knob{
		name:   "cpufreq",
		why:    "the frequency governor changes the frequency while a task runs",
		source: "Documentation/admin-guide/pm/cpufreq.rst",
		plan:   planGovernor,
		rate:   rate{perHour: 2000, text: "each change of load"},
		reads:  []string{"sys/devices/system/cpu/cpu[0-9]*/cpufreq/affected_cpus", "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_available_governors", "sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"},
	}
}

// planGovernor makes one change for each frequency domain: its CPUs share one
// governor.
func planGovernor(h *host) (found, error) {
	var f found
	var done, drawnIn cpulist.Set
	for cpu := range h.cpus.All() {
		if done.Contains(cpu) {
			continue
		}
		dir := fmt.Sprintf("/sys/devices/system/cpu/cpu%d/cpufreq/", cpu)
		// There is one driver for all CPUs, and governors are the kernel's
		// (show_scaling_available_governors), so that one file is enough for all.
		if done.IsEmpty() {
			if err := hasGovernor(h, dir, "performance"); err != nil {
				return f, err
			}
		}
		shared, err := frequencyDomain(h, dir, cpu)
		if err != nil {
			return f, err
		}
		done = done.Union(shared)
		changes, err := h.set(dir+"scaling_governor", change.Text{}, "performance")
		if err != nil {
			return f, err
		}
		f.changes = append(f.changes, changes...)
		if len(changes) > 0 {
			drawnIn = drawnIn.Union(shared.Minus(h.cpus))
		}
	}
	if !drawnIn.IsEmpty() {
		f.note("CPU %v %s a frequency with isolated CPUs and %s the governor too", drawnIn, either(drawnIn, "shares", "share"), either(drawnIn, "gets", "get"))
	}
	return f, nil
}

func hasGovernor(h *host, dir, governor string) error {
	available, err := h.read(dir + "scaling_available_governors")
	if err != nil {
		return err
	}
	if !slices.Contains(strings.Fields(available), governor) {
		return because(errLacking, "no governor %q in %sscaling_available_governors, only %s", governor, dir, available)
	}
	return nil
}

func frequencyDomain(h *host, dir string, cpu int) (cpulist.Set, error) {
	text, err := h.read(dir + "affected_cpus")
	if err != nil {
		return cpulist.Set{}, err
	}
	shared, err := cpulist.Parse(text)
	if err != nil {
		return cpulist.Set{}, fmt.Errorf("reading %saffected_cpus: %w", dir, err)
	}
	own, err := cpulist.New(cpu)
	return shared.Union(own), err
}
