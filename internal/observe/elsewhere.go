// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"time"

	"github.com/taskiso/taskiso/internal/report"
)

// ranOnOthers returns by CPU how long the command's threads have run on CPUs that are not observed. A task that was not
// started as a command may be anywhere, so that nothing follows from where it ran.
func (o *Observer) ranOnOthers() map[int]time.Duration {
	ran := make(map[int]time.Duration)
	if o.cfg.Trace.CPUs.IsEmpty() || o.cfg.Trace.AllTasks || !o.command {
		return ran
	}
	for cpu := range o.cfg.Trace.PossibleCPUs {
		if d := o.tracer.Elsewhere(cpu); d > 0 && !o.cfg.Trace.CPUs.Contains(cpu) {
			ran[cpu] = d
		}
	}
	return ran
}

// elsewhere returns where the command ran since the beginning without being observed there.
func (o *Observer) elsewhere() []report.Elsewhere {
	if o.analysis.until < o.analysis.begin {
		return nil
	}
	ran := o.ranOnOthers()
	var list []report.Elsewhere
	for cpu := range o.cfg.Trace.PossibleCPUs {
		if d := ran[cpu] - o.ranBefore[cpu]; d > 0 {
			list = append(list, report.Elsewhere{CPU: cpu, Ran: d, Expected: o.cfg.Beside.Contains(cpu)})
		}
	}
	return list
}
