// SPDX-License-Identifier: Apache-2.0

package run

import (
	"time"

	"github.com/taskiso/taskiso/internal/flight"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// FlightConfig is what a flight recorder keeps, and when it keeps it for good.
type FlightConfig struct {
	Bytes         int
	Span          time.Duration
	Before, After time.Duration
	Dir           string
	Room          int64 // for all snapshots in Dir
	Conditions    *flight.Conditions
}

// recorder is a flight recorder with everything around it.
type recorder struct {
	*FlightConfig
	observer  *observe.Observer
	flight    *record.Flight
	directory *flight.Directory
	socket    *flight.Socket // nil if nobody can ask
}

// CheckSizes finds out whether a recorder can be so small.
func (c *FlightConfig) CheckSizes() error {
	return record.FlightConfig{Bytes: c.Bytes, Span: c.Span, Before: c.Before, After: c.After}.Check()
}

// CheckDirectory finds out whether snapshots can be kept, before anything starts.
func (c *FlightConfig) CheckDirectory() error {
	d, err := flight.OpenDirectory(c.Dir, c.Room)
	if err != nil {
		return err
	}
	return d.Close()
}

func (r *recorder) take(met flight.Met, from, until time.Duration) {
	r.flight.Take(record.Snapshot{Trigger: met.Trigger, Reason: met.Reason, From: from, Until: until}) // passed over ones are counted
}

// poll looks for everything that triggers a snapshot and is not a break.
func (r *recorder) poll() {
	now := r.observer.Now()
	for _, met := range r.Conditions.Counted(flight.Counts{Violations: r.observer.Violations(), Lost: r.observer.Progress().Lost}) {
		r.take(met, now, now)
	}
	if r.socket == nil {
		return
	}
	select {
	case a := <-r.socket.Asked():
		r.ask("taskiso snapshot", "somebody asked for it", a.Answer)
	default:
	}
}

// ask takes a snapshot because somebody wants it now.
func (r *recorder) ask(trigger, reason string, answer func(report.Kept)) {
	now := r.observer.Now()
	err := r.flight.Take(record.Snapshot{Trigger: trigger, Reason: reason, From: now, Until: now, Asked: true, Done: answer})
	if err != nil && answer != nil {
		answer(report.Kept{Trigger: trigger, Failed: err.Error()})
	}
}
