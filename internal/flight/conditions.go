// SPDX-License-Identifier: Apache-2.0

package flight

import (
	"fmt"
	"time"

	"github.com/taskiso/taskiso/internal/budget"
	"github.com/taskiso/taskiso/internal/report"
)

// Words for conditions that are not about breaks.
const (
	OnMonitor = "monitor" // an automaton was violated
	OnLost    = "lost"    // events found no room
)

// maxConditions bounds what is looked at with each break.
const maxConditions = 64

// Conditions are what triggers a snapshot. The zero value is none.
type Conditions struct {
	breaks        []*budget.Trigger
	monitor, lost bool

	violations, losses uint64 // until now
}

// ParseConditions reads conditions: words, or limits of single breaks as [budget.ParseTrigger] has them.
func ParseConditions(texts []string) (*Conditions, error) {
	c := &Conditions{}
	if len(texts) > maxConditions {
		return nil, fmt.Errorf("%d conditions, there can be %d", len(texts), maxConditions)
	}
	for _, text := range texts {
		switch text {
		case OnMonitor:
			c.monitor = true
		case OnLost:
			c.lost = true
		default:
			t, err := budget.ParseTrigger(text)
			if err != nil {
				return nil, fmt.Errorf("%w, or one of the words %s and %s", err, OnMonitor, OnLost)
			}
			c.breaks = append(c.breaks, t)
		}
	}
	return c, nil
}

// NeedMonitor reports whether one of them is about automata.
func (c *Conditions) NeedMonitor() bool { return c.monitor }

// Met is a condition that is met, and by what.
type Met struct{ Trigger, Reason string }

// Break returns which are met by a break. Each of them takes it in.
func (c *Conditions) Break(b *report.Break) (met []Met) {
	for _, t := range c.breaks {
		if reason := t.Break(b); reason != "" {
			met = append(met, Met{t.Text, reason})
		}
	}
	return met
}

// Counts are how many violations and lost events there were until now.
type Counts struct{ Violations, Lost uint64 }

// Counted returns which are met by what was counted.
func (c *Conditions) Counted(now Counts) (met []Met) {
	if n := now.Violations - c.violations; n > 0 && c.monitor {
		met = append(met, Met{OnMonitor, fmt.Sprintf("an automaton was violated, %d times in all", now.Violations)})
	}
	if n := now.Lost - c.losses; n > 0 && c.lost {
		met = append(met, Met{OnLost, fmt.Sprintf("events were lost: %d", n)})
	}
	c.violations, c.losses = now.Violations, now.Lost
	return met
}

// End returns when a break ended, since the beginning of the observation.
func End(b *report.Break) time.Duration { return b.At + b.Duration + b.Waited }
