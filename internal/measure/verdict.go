// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/task"
)

// verdict returns what the measurement came to.
func (m *measurement) verdict() task.Verdict {
	r := &m.report
	switch {
	case r.EndedBy == byMove:
		return task.Because(task.Unknown, "a loop was moved off its CPU, which ended the measurement: the CPU went offline, or somebody set the affinity of the thread")
	case r.EndedBy == byClock:
		return task.Because(task.Unknown, "reading the clock began to enter the kernel, which ended the measurement: the kernel trusts the CPU's counter no longer (see its log)")
	case r.EndedBy == task.ByExit:
		return task.Because(task.Unknown, "the busy loop was ended: %v", m.ended)
	case len(r.Doubts) > 0:
		return task.Because(task.Unknown, "%s", r.Doubts[0].Text)
	case r.Exceeded != nil:
		return task.Because(task.Exceeded, "a gap of %s on CPU %d, with a --trace-limit of %v", display.Span(r.Exceeded.Gap.Length), r.Exceeded.CPU, m.cfg.TraceLimit)
	}
	return task.Verdict{}
}
