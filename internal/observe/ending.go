// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// ending returns what the tracer and the kernel have counted, after the tracer was stopped.
func (o *Observer) ending(after counts, elsewhere []report.Elsewhere) (record.Ending, error) {
	end := record.Ending{
		WarmUp: o.warmUp, Elsewhere: elsewhere, MissedOf: make(map[event.Kind]uint64),
		Before: record.Interrupts(o.baseline), After: record.Interrupts(after),
	}
	for cpu := range o.cfg.Trace.PossibleCPUs {
		if c := o.countsOf(cpu); len(c.Seen) > 0 || c.Preempted > 0 {
			end.Counts = append(end.Counts, c)
		}
	}
	for k := range event.Kinds() {
		n, err := o.tracer.MissedOf(k)
		if err != nil {
			return end, err
		}
		if n > 0 {
			end.MissedOf[k] = n
		}
	}
	if o.spinningErr != nil {
		end.Spinning = o.spinningErr.Error()
	}
	var err error
	if end.Missed, err = o.tracer.Missed(); err != nil {
		return end, err
	}
	end.Children, err = o.tracer.UnwatchedChildren()
	return end, err
}

func (o *Observer) countsOf(cpu int) record.CPUCounts {
	c := record.CPUCounts{CPU: cpu, Seen: make(map[event.Kind]uint64), Lost: make(map[event.Kind]uint64), Preempted: o.tracer.Preempted(cpu)}
	for k := range event.Kinds() {
		if n := o.tracer.Seen(cpu, k); n > 0 {
			c.Seen[k] = n
		}
		if n := o.tracer.Lost(cpu, k); n > 0 {
			c.Lost[k] = n
		}
	}
	return c
}
