// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
)

func throttlingKnob() knob {
	return knob{
		name:   "rt-throttling",
		why:    "a timer takes the CPU away from real-time tasks for a part of each period",
		source: "Documentation/scheduler/sched-rt-group.rst",
		global: true,
		plan:   planThrottling,
		rate:   rate{perHour: 3600, text: "one a second, for real-time tasks"},
		reads:  []string{"proc/sys/kernel/sched_rt_runtime_us"},
	}
}

func planThrottling(h *host) (found, error) {
	f, err := value("/proc/sys/kernel/sched_rt_runtime_us", "-1")(h)
	if len(f.changes) > 0 {
		f.note("a real-time task that never sleeps then starves all else on its CPU, on housekeeping CPUs too")
	}
	return f, err
}

func fairServerKnob() knob {
	return knob{
		name:   "fair-server",
		why:    "a deadline server interrupts a CPU to let ordinary tasks run beside real-time ones",
		source: "kernel/sched/debug.c: debugfs_fair_server_init",
		plan:   planFairServer,
		rate:   rate{perHour: 3600, text: "up to one a second (its period)"},
		reads:  []string{"sys/kernel/debug/sched", "sys/kernel/debug/sched/fair_server/cpu*/runtime"},
	}
}

// withoutSchedulerFiles reports whether there may be deadline servers that nothing shows.
func withoutSchedulerFiles(h *host) error {
	line, _ := h.read("/proc/cmdline") // without it, the features of the machine show its release
	if _, latest := (&kernelLine{host: h, line: arguments(line)}).releases(); latest < serversSince {
		return because(errLacking, "this kernel has no deadline servers (Linux 6.8 and later do)")
	}
	if h.mounts.on("/sys/kernel/debug").kind == "debugfs" {
		return errors.New("debugfs does not have /sys/kernel/debug/sched, which would show it (CONFIG_SCHED_DEBUG)")
	}
	return errors.New("there is no /sys/kernel/debug/sched, which would show it: mount -t debugfs debugfs /sys/kernel/debug")
}

// serversSince is the first release with deadline servers.
const serversSince release = 6008

func planFairServer(h *host) (found, error) {
	if _, err := fs.ReadDir(h.files, "sys/kernel/debug"); errors.Is(err, fs.ErrPermission) {
		return found{}, fmt.Errorf("reading /sys/kernel/debug: %w: plan as root to see it", fs.ErrPermission)
	}
	if !h.exists("/sys/kernel/debug/sched") {
		return found{}, withoutSchedulerFiles(h)
	}
	f, err := perCPU("/sys/kernel/debug/sched/fair_server/cpu%d/runtime", "0")(h)
	for i := range f.changes {
		f.changes[i].MayFail = true
	}
	if len(f.changes) > 0 {
		f.note("ordinary tasks on an isolated CPU then never run beside a real-time task that does not sleep")
	}
	return f, err
}
