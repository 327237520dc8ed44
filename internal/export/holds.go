// SPDX-License-Identifier: Apache-2.0

package export

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/perfetto"
)

// holds writes the operations that were held back, or were not: a report has them with the times of day.
func (t *Trace) holds() {
	records := slices.Clone(t.report.Holds)
	if len(records) == 0 {
		return
	}
	ends := func(r operation.Record) time.Time { return r.Time.Add(r.Held) }
	slices.SortStableFunc(records, func(a, b operation.Record) int { return cmp.Compare(ends(a).UnixNano(), ends(b).UnixNano()) })
	all := lanes{w: t.w, name: "held operations", below: perfetto.Top, rank: rankHolds}
	for _, r := range records {
		from := max(0, t.report.Began+r.Time.Sub(t.report.Started))
		until := from + max(0, r.Held)
		track, ok := all.find(from, until, uint64(r.TID))
		if !ok {
			t.omitted.holds++
			continue
		}
		t.w.Begin(track, from, holdEvent(&r))
		t.w.End(track, until)
	}
}

func holdEvent(r *operation.Record) *perfetto.Event {
	e := perfetto.Event{Name: r.Operation + " " + r.Outcome.String(), Args: []perfetto.Arg{
		{Name: "who", Value: fmt.Sprintf("%s (process %d)", r.Command, r.PID)}, {Name: "held_ns", Value: int64(r.Held)},
		{Name: "cause", Value: r.Spared}, {Name: "CPUs", Value: r.CPUs.String()},
	}}
	for _, a := range []perfetto.Arg{{Name: "detail", Value: r.Detail}, {Name: "reason", Value: r.Reason.String()}, {Name: "error", Value: r.Error}} {
		if a.Value != "" {
			e.Args = append(e.Args, a)
		}
	}
	return &e
}
