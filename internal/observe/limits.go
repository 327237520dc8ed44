// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/record"
)

// limits lists what this observation could not see, in one sentence each.
func (a *analysis) limits(end *record.Ending) []string {
	var limits []string
	if untracked := a.cpus.Minus(a.tracked()); !untracked.IsEmpty() {
		limits = append(limits, fmt.Sprintf("CPU %v: not nohz_full, so nothing reports every kernel entry; an entry that no event names is not seen, "+
			"and durations are lower bounds: they lack time in the kernel that no event shows", untracked))
	}
	if a.cpus.IsEmpty() {
		limits = append(limits, "threads were followed across CPUs: interrupts are seen only while a watched thread runs, and are not compared with the kernel's counts")
	}
	limits = append(limits, spinningLimit(end.Spinning)...)
	limits = append(limits, a.missingSources()...)
	if err := a.symbolsErr; err != nil {
		limits = append(limits, "kernel functions are shown as addresses: "+err.Error())
	}
	return limits
}

// missingSources lists what is not seen because a source is missing, unless another source shows the same. A vector that
// this machine does not have is not a limit; it is listed with the sources of the report.
func (a *analysis) missingSources() []string {
	var limits []string
	for _, s := range a.sources {
		switch {
		case s.Err == nil, s.Kind.IsVector(), s.Kind == event.UserExit, s.Kind == event.UserEnter:
		default:
			limits = append(limits, fmt.Sprintf("%s is missing, so %s cannot be seen: %v", s.Name, s.Shows, s.Err))
		}
	}
	return limits
}
