// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
)

// blind returns why events of kind k, or the functions that they name, are not seen on a CPU; "" if they are.
func (o *Observer) blind(cpu int, k event.Kind, named bool) string {
	if named && o.names.symbolsErr != nil {
		return "kernel functions have no names: " + o.names.symbolsErr.Error()
	}
	if (k == event.UserExit || k == event.UserEnter) && o.tracer.Has(k) && !o.tracked().Contains(cpu) {
		return "not nohz_full, so nothing reports when user mode is left and entered"
	}
	for _, s := range o.tracer.Sources() {
		if s.Kind == k && s.InPlaceOf != "" {
			return s.InPlaceOf + " is not in this kernel, and the kprobes in its place show other events"
		}
		if s.Kind == k && s.Err != nil && !(k.IsVector() && o.hasVectors()) {
			return fmt.Sprintf("%s is not seen: %v", s.Name, s.Err)
		}
	}
	return ""
}

// hasVectors reports whether this machine's interrupts have tracepoints by vector.
// If they have, a vector without a tracepoint is one that this machine does not have.
func (o *Observer) hasVectors() bool { return o.tracer.Has(event.CallFunctionEnter) }

func (o *Observer) fillMonitors(r *report.Report) {
	r.Monitors = o.checker.Results(o.begin, func(cpu int, k event.Kind) bool {
		if !k.IsSend() && o.tracer.Preempted(cpu) == 0 {
			return false // if any was missed, it was on another CPU
		}
		n, err := o.tracer.MissedOf(k)
		return err != nil || n > 0
	})
}
