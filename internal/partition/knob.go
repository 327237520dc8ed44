// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// knob is one setting: what to change for it, why, and where that is written.
// How its values are read, applied, verified and restored is in their [Change].
type knob struct {
	name string
	why  string // what interrupts isolated CPUs without it
	// source is the kernel's documentation or code that says so, as a path in
	// the kernel's source tree.
	source string
	// global settings switch something off for the whole machine: the profile
	// throughput leaves them alone.
	global bool
	plan   func(*host) (found, error)
}

// found is what a knob has to say of a machine.
type found struct {
	changes []change.Change
	notes   []string // limits that a user has to know
	short   string   // what the machine has too little of for all changes to take effect
	later   bool     // what to change is found out when the partition is made
	fixed   []int    // interrupts that the kernel lets nobody move
}

func (f *found) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// knobs lists the settings in the order they are made. The cpuset partition is
// the last one and so the first to be undone: the kernel takes its CPUs out of
// the workqueue masks by itself, which would be mistaken for the doing of others.
func knobs() []knob {
	return []knob{
		{
			name: balancerSetting,
			why:  "irqbalance moves interrupts to any CPU that it is not kept off",
			// There is nothing of it in the kernel.
			source: "irqbalance: irqbalance.1, API; cputree.c: setup_banned_cpus",
			plan:   planBalancer,
		},
		{
			name:   "irq-default",
			why:    "interrupts that are set up later go to any CPU of this mask",
			source: "Documentation/core-api/irq/irq-affinity.rst",
			plan:   masked("/proc/irq/default_smp_affinity"),
		},
		{
			name:   "irq-affinity",
			why:    "a device interrupts the CPUs of its mask",
			source: "Documentation/core-api/irq/irq-affinity.rst",
			plan:   planInterrupts,
		},
		{
			name:   "workqueue",
			why:    "unbound work runs on any CPU of this mask",
			source: "Documentation/core-api/workqueue.rst",
			plan:   planUnboundWork,
		},
		{
			name:   "workqueues",
			why:    "workqueues with a mask of their own (writeback is one) use the CPUs in it if the mask for all is ever widened",
			source: "kernel/workqueue.c: wqattrs_actualize_cpumask",
			plan:   planWorkqueues,
		},
		{
			name:   "rps",
			why:    "packets received elsewhere are processed on the CPUs of these masks, which get an interrupt for it",
			source: "Documentation/networking/scaling.rst",
			plan:   planPacketSteering,
		},
		{
			name:   "rps-default",
			why:    "network devices that come later start with this mask",
			source: "Documentation/admin-guide/sysctl/net.rst: rps_default_mask",
			plan:   planDefaultSteering,
		},
		{
			name:   "skb-defer",
			why:    "packets are freed on the CPU that allocated them, which gets an interrupt for it",
			source: "Documentation/admin-guide/sysctl/net.rst: skb_defer_max",
			global: true,
			plan:   value("/proc/sys/net/core/skb_defer_max", "0"),
		},
		{
			name:   "watchdog",
			why:    "the lockup detectors interrupt each CPU of this mask with a timer and an NMI",
			source: "Documentation/admin-guide/lockup-watchdogs.rst",
			plan:   planWatchdog,
		},
		{
			name:   "stat-interval",
			why:    "each CPU that has counted something folds its memory statistics this often",
			source: "Documentation/admin-guide/sysctl/vm.rst: stat_interval",
			global: true,
			plan:   value("/proc/sys/vm/stat_interval", "120"),
		},
		{
			name:   "timer-migration",
			why:    "timers that other, idle CPUs set are put on busy CPUs of the same scheduling domain",
			source: "kernel/sched/core.c: get_nohz_timer_target",
			global: true,
			plan:   planTimerMigration,
		},
		{
			name:   "numa-balancing",
			why:    "memory is unmapped to see who uses it: page faults and TLB flushes",
			source: "Documentation/admin-guide/sysctl/kernel.rst: numa_balancing",
			global: true,
			plan:   value("/proc/sys/kernel/numa_balancing", "0"),
		},
		{
			name:   "thp",
			why:    "khugepaged joins pages of running programs: page faults and interrupts to all CPUs",
			source: "Documentation/admin-guide/mm/transhuge.rst",
			global: true,
			plan:   choice("/sys/kernel/mm/transparent_hugepage/enabled", "never"),
		},
		{
			name:   "ksm",
			why:    "ksmd write-protects pages of running programs: page faults and TLB flushes",
			source: "Documentation/admin-guide/mm/ksm.rst",
			global: true,
			plan:   planMerging,
		},
		{
			name:   "rt-throttling",
			why:    "a timer takes the CPU away from real-time tasks for a part of each period",
			source: "Documentation/scheduler/sched-rt-group.rst",
			global: true,
			plan:   planThrottling,
		},
		{
			name:   "fair-server",
			why:    "a deadline server interrupts a CPU to let ordinary tasks run beside real-time ones",
			source: "kernel/sched/debug.c: debugfs_fair_server_init",
			plan:   planFairServer,
		},
		{
			name:   "mce-polling",
			why:    "each CPU looks for corrected machine errors from a timer",
			source: "Documentation/arch/x86/x86_64/machinecheck.rst, Documentation/ABI/testing/sysfs-mce: check_interval",
			global: true,
			plan:   planMachineCheck,
		},
		{
			name:   "printk",
			why:    "a message for a slow console is written by the CPU it comes from, or by one that waits for the console",
			source: "Documentation/admin-guide/sysctl/kernel.rst: printk",
			global: true,
			plan:   planPrintk,
		},
		{
			name:   "pm-qos",
			why:    "waking from a deep idle state takes long: with 0 the CPU may enter all of them, with \"n/a\" none that it takes time to leave",
			source: "Documentation/ABI/testing/sysfs-devices-power: pm_qos_resume_latency_us",
			plan:   perCPU("/sys/devices/system/cpu/cpu%d/power/pm_qos_resume_latency_us", "n/a"),
		},
		{
			name:   "cpufreq",
			why:    "the frequency governor changes the frequency while a task runs",
			source: "Documentation/admin-guide/pm/cpufreq.rst",
			plan:   planGovernor,
		},
		{
			name:   cacheSetting,
			why:    "other CPUs fill the same cache and drive out what a task has there",
			source: "Documentation/filesystems/resctrl.rst",
			plan:   planCache,
		},
		{
			name:   tasksSetting,
			why:    "threads run on any CPU of their affinity",
			source: "Documentation/admin-guide/cgroup-v2.rst: cpuset.cpus, kernel/cgroup/cpuset.c: cpuset_update_tasks_cpumask",
			plan:   planTasks,
		},
		{
			name:   smtSetting,
			why:    "another thread of the same core takes part of what the core can do, and its work waits for no kernel entry",
			source: "Documentation/ABI/testing/sysfs-devices-system-cpu: topology/core_cpus_list, online",
			plan:   planSiblings,
		},
		{
			name:   cycleSetting,
			why:    "timers that are armed again where they expire, and interrupts that rarely occur, stay on their CPU for good",
			source: "Documentation/admin-guide/kernel-per-CPU-kthreads.rst, Documentation/core-api/cpu_hotplug.rst",
			plan:   planCycle,
		},
		{
			name:   cpusetSetting,
			why:    "tasks are moved to any CPU of their cpuset, and load is balanced between all of them",
			source: "Documentation/admin-guide/cgroup-v2.rst: cpuset.cpus.partition",
			plan:   planCpuset,
		},
	}
}

// masked keeps isolated CPUs out of a mask that must not become empty.
func masked(path string) func(*host) (found, error) {
	return func(h *host) (found, error) {
		changes, err := h.keepOff(path, change.Mask{}, h.housekeeping)
		return found{changes: changes}, err
	}
}

func value(path, to string) func(*host) (found, error) {
	return func(h *host) (found, error) {
		changes, err := h.set(path, change.Text{}, to)
		return found{changes: changes}, err
	}
}

func choice(path, to string) func(*host) (found, error) {
	return func(h *host) (found, error) {
		changes, err := h.set(path, change.Choice{}, to)
		return found{changes: changes}, err
	}
}

// perCPU sets a value for each isolated CPU.
func perCPU(pattern, to string) func(*host) (found, error) {
	return func(h *host) (found, error) {
		var f found
		for cpu := range h.cpus.All() {
			changes, err := h.set(fmt.Sprintf(pattern, cpu), change.Text{}, to)
			if err != nil {
				return f, err
			}
			f.changes = append(f.changes, changes...)
		}
		return f, nil
	}
}
