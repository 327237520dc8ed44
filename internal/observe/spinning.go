// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/trace"
)

// prepareLook loads what lookForSpinning needs, before anything is observed.
func (o *Observer) prepareLook() {
	if !o.analysis.tracked().IsEmpty() { // elsewhere the tick shows which thread runs
		o.userMode, o.spinningErr = trace.OpenUserMode()
	}
}

// lookForSpinning finds the watched threads that are in user mode already, now that everything is recorded: one that
// never enters the kernel makes no event.
func (o *Observer) lookForSpinning() {
	if o.userMode == nil {
		return
	}
	from := clock.Now()
	found, err := o.userMode.Threads()
	if err != nil {
		o.spinningErr = err
		return
	}
	at := clock.Now()
	for cpu, tid := range found {
		if o.isWatched(cpu, tid) {
			o.found(record.Found{CPU: cpu, TID: tid, From: from, At: at})
		}
	}
}

func (o *Observer) isWatched(cpu int, tid uint32) bool {
	cpus := o.cfg.Trace.CPUs
	return o.analysis.tracked().Contains(cpu) && (cpus.IsEmpty() || cpus.Contains(cpu)) && (o.cfg.Trace.AllTasks || o.watched[tid])
}

// found notes a thread that was in user mode.
func (o *Observer) found(f record.Found) {
	o.analysis.builder.Found(f.CPU, f.TID, f.From, f.At)
	if o.tape != nil {
		o.tape.Found(f)
	}
	if o.flight != nil {
		o.flight.Found(f)
	}
}

// spinningLimit names what is not seen if threads in user mode could not be looked for, and why not.
func spinningLimit(why string) []string {
	if why == "" {
		return nil
	}
	return []string{"a thread that ran before and has not entered the kernel since is not seen: " + why}
}
