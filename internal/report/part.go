// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
)

// PartOf is what a report of a part of a recording is about.
type PartOf struct {
	// Of is when the observation began of which this is a part; From and Until are counted from then on.
	Of    time.Time     `json:"of"`
	From  time.Duration `json:"from_ns"`
	Until time.Duration `json:"until_ns"`
	CPUs  cpulist.Set   `json:"cpus"` // the only ones in it; empty: all
	// TID is the only thread in it; 0: all.
	TID      uint32    `json:"tid,omitempty"`
	Snapshot *Snapshot `json:"snapshot,omitempty"` // nil: the part was cut out later
}

// Snapshot is why a flight recorder kept a part.
type Snapshot struct {
	Trigger string        `json:"trigger"` // as it was given, or what asked for the snapshot
	Reason  string        `json:"reason"`  // what happened
	At      time.Duration `json:"at_ns"`   // since the beginning of the part
}

func (s *Snapshot) String() string {
	return fmt.Sprintf("%s after its beginning, because of %s: %s", display.Span(s.At), s.Trigger, s.Reason)
}

// Limits returns what a report of the part cannot show.
func (p *PartOf) Limits() []string {
	limits := []string{fmt.Sprintf("this is a part of a recording that began at %s, from %s to %s of it: counts cannot be compared with the kernel's own, and what came before and after is not in it",
		p.Of.Format(time.DateTime), display.Span(p.From), display.Span(p.Until))}
	if !p.CPUs.IsEmpty() {
		limits = append(limits, fmt.Sprintf("the part has CPU %v only: what happened on others, and where threads were there, is not in it", p.CPUs))
	}
	if p.TID != 0 {
		limits = append(limits, fmt.Sprintf("the part has thread %d only: nothing is known of the breaks of others", p.TID))
	}
	if p.Snapshot != nil {
		limits = append(limits, "the part is a snapshot, taken "+p.Snapshot.String())
	}
	return limits
}
