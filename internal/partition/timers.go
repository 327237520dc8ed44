// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"

	"github.com/taskiso/taskiso/internal/partition/change"
)

func statIntervalKnob() knob {
	return knob{
		name:   "stat-interval",
		why:    "each CPU that has counted something folds its memory statistics this often",
		source: "Documentation/admin-guide/sysctl/vm.rst: stat_interval",
		global: true,
		plan:   value("/proc/sys/vm/stat_interval", "120"),
		rate:   rate{perHour: 3600, text: "one in %s (vm.stat_interval), while the CPU counts", seconds: true},
		reads:  []string{"proc/sys/vm/stat_interval"},
	}
}

func machineCheckPollingKnob() knob {
	return knob{
		name:   "mce-polling",
		why:    "each CPU looks for corrected machine errors from a timer",
		source: "Documentation/arch/x86/x86_64/machinecheck.rst, Documentation/ABI/testing/sysfs-mce: check_interval",
		global: true,
		plan:   planMachineCheck,
		rate:   rate{perHour: 12, text: "one in %s (check_interval)", seconds: true},
		reads:  []string{"sys/devices/system/machinecheck/machinecheck[0-9]*/check_interval", "sys/devices/system/machinecheck/machinecheck[0-9]*/ignore_ce"},
	}
}

// planMachineCheck sets the period through one CPU: one variable of the kernel stands
// behind the files of all.
func planMachineCheck(h *host) (found, error) {
	dir, err := h.machineCheck()
	if err != nil {
		return found{}, err
	}
	if ignores, err := h.read(dir + "/ignore_ce"); err == nil && ignores != "0" {
		return found{}, because(errNeedless, "corrected machine errors are ignored (%s/ignore_ce), so that nothing polls for them", dir) // should_enable_timer
	}
	changes, err := h.set(dir+"/check_interval", change.Text{}, "0")
	return found{changes: changes}, err
}

func watchdogKnob() knob {
	return knob{
		name:   "watchdog",
		why:    "the lockup detectors interrupt each CPU of this mask with a timer and an NMI",
		source: "Documentation/admin-guide/lockup-watchdogs.rst",
		plan:   planWatchdog,
		rate:   rate{perHour: 900, text: "one in 4 s (2/5 of watchdog_thresh)"},
		reads:  []string{"proc/sys/kernel/watchdog", "proc/sys/kernel/watchdog_cpumask"},
	}
}

func planWatchdog(h *host) (found, error) {
	on, err := h.read("/proc/sys/kernel/watchdog")
	if err != nil {
		return found{}, err
	}
	if on == "0" {
		return found{}, nil
	}
	changes, err := h.keepOff("/proc/sys/kernel/watchdog_cpumask", change.List{}, h.housekeeping)
	if errors.Is(err, errLacking) {
		err = because(errFixed, "%v, so the lockup detectors run on all CPUs or on none: booting with nowatchdog, or 0 in /proc/sys/kernel/watchdog, ends them", err)
	}
	return found{changes: changes}, err
}

func timerMigrationKnob() knob {
	return knob{
		name:   "timer-migration",
		why:    "timers that other, idle CPUs set are put on busy CPUs of the same scheduling domain",
		source: "kernel/sched/core.c: get_nohz_timer_target",
		global: true,
		plan:   planTimerMigration,
		rate:   rate{perHour: 1000, text: "each timer that an idle CPU sets"},
		reads:  []string{"proc/sys/kernel/timer_migration"},
	}
}

// planTimerMigration leaves migration on where it cannot reach the isolated
// CPUs: off, their own timers would no longer leave them when they are idle.
func planTimerMigration(h *host) (found, error) {
	apart := ""
	switch {
	case h.cpus.IsSubsetOf(h.Isolated):
		apart = "the isolated CPUs are in no scheduling domain with others"
	case h.spec.Partition == Isolated && makesCpuset(h):
		apart = "the cpuset partition takes the isolated CPUs out of all scheduling domains with others"
	}
	if apart != "" {
		return found{}, because(errNeedless, "%s", apart)
	}
	if h.cpus.IsSubsetOf(h.NohzFull) {
		return found{}, because(errNeedless, "timers migrate to no nohz_full CPU")
	}
	return value("/proc/sys/kernel/timer_migration", "0")(h)
}
