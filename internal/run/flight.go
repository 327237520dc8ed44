// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"os"
	"syscall"

	"github.com/taskiso/taskiso/internal/claim"
	"github.com/taskiso/taskiso/internal/flight"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// startFlight begins to keep what is seen, if that was asked for.
func (o *Observation) startFlight() error {
	cfg := o.cfg.Flight
	if cfg == nil {
		return nil
	}
	r := &recorder{FlightConfig: cfg, observer: o.observer}
	var err error
	if r.directory, err = flight.OpenDirectory(cfg.Dir, cfg.Room); err != nil {
		return err
	}
	o.recorder = r
	if r.flight, err = o.observer.Fly(record.FlightConfig{
		Bytes: cfg.Bytes, Span: cfg.Span, Before: cfg.Before, After: cfg.After, Save: r.directory.Save, Saved: o.saved,
	}, &o.Report); err != nil {
		return err
	}
	if r.socket, err = flight.Listen(claim.Own(flight.Sockets)); err != nil {
		o.Report.Limits = append(o.Report.Limits, fmt.Sprintf("\"taskiso snapshot\" cannot ask for a snapshot: %v", err))
	}
	return nil
}

// saved reports a snapshot when it is written.
func (o *Observation) saved(k report.Kept) {
	fmt.Fprintf(o.cfg.Warnings(), "taskiso: %s\n", &k)
}

// triggers returns what is to be done with each break, with next if that is not nil.
func (o *Observation) triggers(next func(report.Break)) func(report.Break) {
	if o.cfg.Flight == nil {
		return next
	}
	return func(b report.Break) {
		if next != nil {
			next(b)
		}
		if o.recorder == nil {
			return
		}
		begun := o.observer.Began()
		for _, met := range o.recorder.Conditions.Break(&b) {
			o.recorder.take(met, begun+b.At, begun+flight.End(&b))
		}
	}
}

// pollFlight looks for what triggers a snapshot.
func (o *Observation) pollFlight() {
	if o.recorder == nil {
		return
	}
	o.recorder.poll()
	if o.isolating == nil {
		return
	}
	for _, a := range o.isolating.supervisor.Asks() {
		now := o.observer.Now()
		o.recorder.take(flight.Met{Trigger: "taskiso_snapshot", Reason: fmt.Sprintf("thread %d asked for it, with number %d", a.TID, a.ID)}, now, now)
	}
}

// snapshotFor takes a snapshot for SIGUSR1, if there is a flight recorder, which then is not passed on to a command.
func (o *Observation) snapshotFor(sig os.Signal) bool {
	if sig != syscall.SIGUSR1 || o.recorder == nil {
		return false
	}
	o.recorder.ask("SIGUSR1", "a signal asked for it", nil)
	return true
}

// endFlight writes what was asked for last, and completes the report.
func (o *Observation) endFlight() error {
	r := o.recorder
	if r == nil {
		return nil
	}
	o.recorder = nil
	if r.socket != nil {
		r.socket.Close()
	}
	if r.flight != nil {
		o.Report.Flight = r.flight.Close()
		o.Report.Flight.Dir = r.Dir
	}
	return r.directory.Close()
}
