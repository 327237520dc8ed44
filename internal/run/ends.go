// SPDX-License-Identifier: Apache-2.0

package run

import (
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/partition/thread"
	"github.com/taskiso/taskiso/internal/report"
)

// planPartition notes in the report what setting the observed CPUs apart would end, by the plan for this machine as it is now.
func (o *Observation) planPartition() {
	r := &o.Report
	spec := partition.Spec{CPUs: observedCPUs(r).String()}
	if spec.CPUs == "" {
		return
	}
	r.Partition = &report.Partition{}
	if o.cfg.Apart {
		r.Partition.Reason = "the CPUs are set apart for this run"
		return
	}
	if r.Task.Kind == kindLoop {
		spec.Partition = partition.None // a run makes no other for it
	}
	plan, err := partition.New(spec, o.cfg.Files)
	if err != nil {
		r.Partition.Reason = err.Error()
		return
	}
	if r.Partition.Reason = plan.Refused; plan.Refused != "" {
		return
	}
	running, err := thread.All(o.cfg.Files)
	if err != nil {
		r.Partition.Reason = err.Error()
		return
	}
	for i := range r.CPUs {
		for j := range r.CPUs[i].Causes {
			c := &r.CPUs[i].Causes[j]
			c.Partition = partitionOf(&r.Task, c.ID, plan.Ending(c.ID, c.Detail, running))
		}
	}
}

// partitionOf returns what reports say of an ending. Tasks that took the CPU from a task with several threads may be of those
// threads, which stay together; all that run on a CPU leave it if somebody watches only the CPU.
func partitionOf(t *report.Task, cause string, e partition.Ending) string {
	switch {
	case e == partition.Ends && cause == "task-user" && t.Threads > 1 && t.Kind != kindCPUs, e == partition.Unclear:
		return report.PartitionUnknown
	case e == partition.Ends:
		return report.PartitionEnds
	}
	return ""
}

func observedCPUs(r *report.Report) cpulist.Set {
	var cpus cpulist.Set
	for _, c := range r.CPUs {
		if cpu, err := cpulist.New(c.CPU); err == nil {
			cpus = cpus.Union(cpu)
		}
	}
	return cpus
}
