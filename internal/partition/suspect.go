// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// manager is a program that is known to change settings.
type manager struct {
	process string // as in /proc/PID/comm, which has 15 characters
	paths   []string
	habit   string
}

// managers, the likelier ones first. Each source is the program's own.
var managers = []manager{
	{"irqbalance", []string{"/run/irqbalance/"}, "forgets its list when it is started again: undo the partition and create it again"},
	{"irqbalance", []string{"/proc/irq/"}, "spreads interrupts over all CPUs but those banned (IRQBALANCE_BANNED_CPULIST)"},
	{"ksmtuned", []string{"/sys/kernel/mm/ksm/"}, "starts and stops merging by the memory that is free"},
	{"numad", []string{"/proc/sys/kernel/numa_balancing", "/sys/kernel/mm/"}, "places processes on NUMA nodes"},
	{"power-profiles-", []string{"cpufreq", "pm_qos_resume_latency_us"}, "sets governors with each profile"},
	{"tlp", []string{"cpufreq"}, "sets governors when the power supply changes"},
	{"thermald", []string{"cpufreq"}, "limits frequencies when it is hot"},
	{"tuned", []string{"/proc/irq/", "workqueue", "/proc/sys/", "/sys/kernel/mm/", "cpufreq", "machinecheck", "rps_cpus", "pm_qos_resume_latency_us"}, "applies its profile at its start and for each new device"},
	{"systemd", []string{"/sys/fs/cgroup/"}, "takes a controller away that none of its units uses, and removes cgroups that it does not know"},
	{"systemd", []string{"/proc/sys/"}, "applies sysctl.d at boot and with each new network device (systemd-sysctl)"},
	{"NetworkManager", []string{"rps_cpus", "rps_default_mask"}, "sets up network devices again"},
}

// suspect names for each drift the program that probably made it.
func suspect(view fs.FS, drifts []Drift) {
	if len(drifts) == 0 {
		return
	}
	running := processes(view)
	for i, d := range drifts {
		drifts[i].Suspect = guess(d, running)
		if strings.Contains(d.Got, " invalid") && path.Base(d.Path) == partitionFile {
			drifts[i].Suspect += "; " + takenFrom(view, path.Dir(d.Path))
		}
	}
}

func guess(d Drift, running map[string]int) string {
	if strings.HasPrefix(d.Path, "/proc/irq/") && d.Got == "" {
		return "the device is gone, or its driver has set it up again"
	}
	if strings.HasPrefix(d.Got, "isolated invalid (") || strings.HasPrefix(d.Got, "root invalid (") {
		return "the kernel itself: the reason is in parentheses"
	}
	if invalid := d.Got == "isolated invalid" || d.Got == "root invalid"; invalid && path.Base(d.Path) == partitionFile {
		return "the kernel itself, which gives no reason"
	}
	if strings.HasSuffix(d.Path, ".slice") {
		return fmt.Sprintf("somebody gave the slice other CPUs, as \"systemctl set-property %s AllowedCPUs=\" does", path.Base(d.Path))
	}
	for _, m := range managers {
		pid, runs := running[m.process]
		if !runs {
			continue
		}
		for _, part := range m.paths {
			if strings.Contains(d.Path, part) {
				return fmt.Sprintf("probably %s (process %d), which %s", m.process, pid, m.habit)
			}
		}
	}
	return "nobody runs that is known to change it; a person or a script?"
}

// rivals warns of programs that will not leave settings as they are.
func rivals(files fs.FS, plan *Plan) []string {
	running := processes(files)
	var warnings []string
	if pid, runs := running["irqbalance"]; runs && !plan.tellsBalancer() {
		warnings = append(warnings, fmt.Sprintf("irqbalance (process %d) moves interrupts to any CPU again: ban these with IRQBALANCE_BANNED_CPULIST=%v where its service is configured, and restart it", pid, plan.CPUs))
	}
	if pid, runs := running["tuned"]; runs {
		warnings = append(warnings, fmt.Sprintf("tuned (process %d) sets some of this by its profile, which has to agree or to be off (tuned-adm off)", pid))
	}
	return warnings
}
