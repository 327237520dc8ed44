// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"

	"github.com/taskiso/taskiso/internal/partition/change"
)

func workqueueKnob() knob {
	return knob{
		name:   "workqueue",
		why:    "unbound work runs on any CPU of this mask",
		source: "Documentation/core-api/workqueue.rst",
		plan:   planUnboundWork,
		rate:   rate{perHour: 10000, text: "each unbound work item that is put there"},
		reads:  []string{"sys/devices/virtual/workqueue/cpumask"},
	}
}

func planUnboundWork(h *host) (found, error) {
	f, err := masked("/sys/devices/virtual/workqueue/cpumask")(h)
	if errors.Is(err, errLacking) {
		return f, because(errFixed, "%v: unbound work goes to any CPU (Linux 4.2 and later have that file)", err)
	}
	f.note("work that is bound to CPU %v stays there (causes work-bound, task-kernel): it waits beside a program that never sleeps, and beside a real-time one for as long as that runs, and with it every task that waits for it, such as for I/O, a flush or the unloading of a module", h.cpus)
	return f, err
}

func workqueuesKnob() knob {
	return knob{
		name:    "workqueues",
		why:     "workqueues with a mask of their own (writeback is one) use the CPUs in it if the mask for all is ever widened",
		source:  "kernel/workqueue.c: wqattrs_actualize_cpumask",
		plan:    planWorkqueues,
		rate:    rate{perHour: 100, text: "each work item of such a queue"},
		targets: partsOf(5), // /sys/devices/virtual/workqueue/NAME/cpumask
		reads:   []string{"sys/devices/virtual/workqueue/*/cpumask"},
	}
}

func planWorkqueues(h *host) (found, error) {
	var f found
	paths, err := h.glob("/sys/devices/virtual/workqueue/*/cpumask")
	if err != nil {
		return f, err
	}
	for _, p := range paths {
		changes, err := h.keepOff(p, change.Mask{}, h.housekeeping)
		if err != nil {
			return f, err
		}
		f.changes = append(f.changes, changes...)
	}
	return f, nil
}
