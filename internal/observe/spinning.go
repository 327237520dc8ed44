// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/trace"
)

// prepareLook loads what lookForSpinning needs, before anything is observed.
func (o *Observer) prepareLook() {
	if !o.tracked().IsEmpty() { // elsewhere the tick shows which thread runs
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
			o.builder.Found(cpu, tid, from, at)
		}
	}
}

func (o *Observer) isWatched(cpu int, tid uint32) bool {
	cpus := o.cfg.Trace.CPUs
	return o.tracked().Contains(cpu) && (cpus.IsEmpty() || cpus.Contains(cpu)) && (o.cfg.Trace.AllTasks || o.watched[tid])
}

// spinningLimit names what is not seen if threads in user mode could not be looked for.
func (o *Observer) spinningLimit() []string {
	if o.spinningErr == nil {
		return nil
	}
	return []string{fmt.Sprintf("a thread that ran before and has not entered the kernel since is not seen: %v", o.spinningErr)}
}
