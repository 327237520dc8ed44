// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"fmt"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// isPart lets the analysis be of a part of a recording.
func (a *analysis) isPart(p *record.Part) {
	a.part, a.begin = p, p.Began
	a.collector.BeginPart(p.Began)
	if !p.CPUs.IsEmpty() {
		a.builder.Unseen = true // that a thread goes to a CPU which was left out is not seen
	}
}

// listed returns the CPUs that a report lists, whether anything was seen there or not; none: those of which something was.
func (a *analysis) listed() cpulist.Set {
	if a.part != nil && a.part.TID != 0 {
		return cpulist.Set{} // where the thread never was
	}
	return a.cpus
}

// partial returns the report of a part. What is known of the whole only, such as how the task ended, is not in it.
func (a *analysis) partial(h *record.Header, end *record.End) *report.Report {
	ending := record.Ending{}
	if end != nil {
		ending.Files, ending.Spinning = end.Ending.Files, end.Ending.Spinning
	}
	r := begun(h)
	r.Part = &a.part.PartOf
	a.finish(r, &ending, ending.Files)
	r.Limits = append(r.Limits, r.Part.Limits()...)
	if end == nil {
		r.Limits = append(r.Limits, fmt.Sprintf("the part has no end, because taskiso was ended while it wrote it: from %s on nothing is known of it", a.until-a.begin))
	}
	return r
}
