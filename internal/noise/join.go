// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"cmp"
	"slices"
	"time"
)

// Stay is a stay of the loop in the kernel, as a tracer has seen it.
type Stay struct {
	At       time.Duration `json:"at_ns"` // since the measurement began
	Duration time.Duration `json:"duration_ns"`
	AtLeast  bool          `json:"at_least"`
	ID       string        `json:"id"` // of the cause
	Title    string        `json:"title"`
	Detail   string        `json:"detail,omitempty"`
	// Who are those who caused it from elsewhere, and Story what happened inside.
	Who   []string `json:"who,omitempty"`
	Story []string `json:"story,omitempty"`
}

// middle is what decides to which gap a stay belongs: a stay is inside its gap, but
// its ends may be known less well.
func (s *Stay) middle() time.Duration { return s.At + s.Duration/2 }

// slack is how far the times of gaps and of stays may be apart: the counter is
// compared with the clock every 10 ms, and the tracer's first event in a stay
// comes some time after it began.
const slack = 2 * time.Microsecond

// ExplainedGap is a gap with its cause. Its times are since the measurement began.
type ExplainedGap struct {
	At     time.Duration `json:"at_ns"`
	Length time.Duration `json:"length_ns"`
	// Stay is the longest stay in the gap, if there is one, and Stays how many there
	// are.
	Stay  *Stay `json:"stay,omitempty"`
	Stays int   `json:"stays"`
}

// Joiner finds the stays of gaps on one CPU. Both come in the order of their
// times, but not at the same time: a stay may be known long after it ended, where
// only the next one shows that.
type Joiner struct {
	gaps  []Gap
	stays []Stay
	out   func(ExplainedGap)
	// Unseen counts stays in which the loop saw no gap: they were shorter than its
	// threshold, or outside of its time.
	Unseen uint64
}

// maxPending is how many gaps wait for stays. Beyond that they are explained by what
// is known.
const maxPending = 1 << 16

// NewJoiner returns a joiner that calls out with each gap, in order.
func NewJoiner(out func(ExplainedGap)) *Joiner { return &Joiner{out: out} }

// Gap takes in a gap. Its time is since the measurement began.
func (j *Joiner) Gap(g Gap) {
	j.gaps = append(j.gaps, g)
	if len(j.gaps) > maxPending {
		j.explain(len(j.gaps) / 2)
	}
}

// Stay takes in a stay. What ended before it began will not be explained by any
// further one.
func (j *Joiner) Stay(s Stay) {
	j.stays = append(j.stays, s)
	n, _ := slices.BinarySearchFunc(j.gaps, s.At-slack, func(g Gap, at time.Duration) int {
		return cmp.Compare(g.End(), at)
	})
	j.explain(n)
	if len(j.gaps) == 0 && len(j.stays) > maxPending {
		j.forget(len(j.stays) / 2)
	}
}

// Finish explains the gaps that still wait. Stays after end are nobody's: the
// loop had ended.
func (j *Joiner) Finish(end time.Duration) {
	j.explain(len(j.gaps))
	for _, s := range j.stays {
		if s.middle() < end {
			j.Unseen++
		}
	}
	j.stays = nil
}

// forget drops the n oldest stays, which no gap has claimed.
func (j *Joiner) forget(n int) {
	j.Unseen += uint64(n)
	j.stays = append(j.stays[:0], j.stays[n:]...)
}

// explain passes on the first n gaps.
func (j *Joiner) explain(n int) {
	if n == 0 {
		return
	}
	over := 0 // stays that no further gap can have
	for i, g := range j.gaps[:n] {
		found := ExplainedGap{At: g.At, Length: g.Length}
		for ; over < len(j.stays) && !j.isLater(&j.stays[over], i); over++ {
			s := j.stays[over]
			if s.middle() < g.At-slack {
				j.Unseen++
				continue
			}
			found.Stays++
			if found.Stay == nil || s.Duration > found.Stay.Duration {
				found.Stay = &s
			}
		}
		j.out(found)
	}
	j.stays = append(j.stays[:0], j.stays[over:]...)
	j.gaps = append(j.gaps[:0], j.gaps[n:]...)
}

// isLater reports whether a stay came after gap i. What is about as near to the next
// gap belongs to that one if it is inside.
func (j *Joiner) isLater(s *Stay, i int) bool {
	end := j.gaps[i].End()
	if s.middle() <= end {
		return false
	}
	inNext := i+1 < len(j.gaps) && s.middle() >= j.gaps[i+1].At
	return inNext || s.middle() > end+slack
}
