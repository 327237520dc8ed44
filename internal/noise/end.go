// SPDX-License-Identifier: Apache-2.0

package noise

import "time"

// Start is what is known of a measurement when it begins, and Limit the length of a gap that ends it, 0 for none.
type Start struct {
	Report Report        `json:"report"`
	Limit  time.Duration `json:"trace_limit_ns"`
}

// End is what is known of a measurement when it ends, beside its gaps and what a tracer saw. The limits of the report that the tracer has are
// between those before and those after.
type End struct {
	Report Report    `json:"report"`
	Before []string  `json:"limits_before"`
	After  []string  `json:"limits_after"`
	Loops  []LoopEnd `json:"loops"`
}

// LoopEnd is what is known of a loop when it has ended.
type LoopEnd struct {
	CPU         int           `json:"cpu"`
	State       State         `json:"state"`
	Cut         time.Duration `json:"cut_ns"` // how long it had not run when it ended, as far as what was in that gap is not known
	Taken       uint64        `json:"taken"`  // gaps that were taken in
	Dropped     uint64        `json:"dropped"`
	Percentiles []Percentile  `json:"percentiles"`
	Steal       time.Duration `json:"steal_ns"`
	SMIs        *uint64       `json:"smis,omitempty"`
}

// End takes in the last gaps, and returns what is known of the loop when it is done, or was stopped in vain.
func (c *Collector) End() LoopEnd {
	c.Poll()
	end := LoopEnd{CPU: c.cpu.CPU, State: c.record.State(), Taken: c.taken, Dropped: c.record.Dropped(), Percentiles: []Percentile{}}
	if c.ended > 0 && !c.record.Done() {
		end.Cut = c.cutOff(&end.State)
	}
	h := c.record.Histogram()
	for _, p := range percents {
		if h.TotalCount() > 0 {
			end.Percentiles = append(end.Percentiles, Percentile{p, min(end.State.Max, time.Duration(h.ValueAtQuantile(p)))})
		}
	}
	return end
}

// Unended returns what is known of a loop whose end is not: what was taken in, until a time of CLOCK_MONOTONIC.
func (c *Collector) Unended(until time.Duration) LoopEnd {
	s := c.sums
	s.Began, s.Ran, s.CPU = c.began, max(0, until-c.began), int64(c.cpu.CPU)
	return LoopEnd{CPU: c.cpu.CPU, State: s, Taken: c.taken, Percentiles: []Percentile{}}
}
