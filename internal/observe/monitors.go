// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"
	"slices"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

// blind returns why events of kind k, or the functions that they name, are not seen on a CPU; "" if they are.
func (s *scene) blind(cpu int, k event.Kind, named bool) string {
	if named && s.symbolsErr != nil {
		return "kernel functions have no names: " + s.symbolsErr.Error()
	}
	if k == monitor.Steps && s.isARM64() {
		return "kernel text is patched in steps on x86 only"
	}
	if (k == event.UserExit || k == event.UserEnter) && s.has(k) && !s.tracked().Contains(cpu) {
		return "not nohz_full, so nothing reports when user mode is left and entered"
	}
	for i := range s.sources {
		source := &s.sources[i]
		if source.Has(k) && source.InPlaceOf != "" {
			return source.InPlaceOf + " is not in this kernel, and the kprobes in its place show other events"
		}
		if source.Has(k) && source.Err != nil && !(k.IsVector() && s.hasVectors()) {
			return fmt.Sprintf("%s is not seen: %v", source.Name, source.Err)
		}
	}
	return ""
}

// isARM64 reports whether the sources are those of arm64.
func (s *scene) isARM64() bool {
	return slices.ContainsFunc(s.sources, func(s trace.Source) bool { return s.Kind == event.IPIEnter })
}

// hasVectors reports whether this machine's interrupts have tracepoints by vector.
// If they have, a vector without a tracepoint is one that this machine does not have.
func (s *scene) hasVectors() bool { return s.has(event.CallFunctionEnter) }

func (a *analysis) fillMonitors(r *report.Report, end *record.Ending, counted map[int]record.CPUCounts) {
	r.Monitors = a.checker.Results(a.begin, func(cpu int, k event.Kind) bool {
		if !k.IsSend() && counted[cpu].Preempted == 0 {
			return false // if any was missed, it was on another CPU
		}
		return end.MissedOf[k] > 0
	})
}
