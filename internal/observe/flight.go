// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"time"

	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// Fly keeps the latest of what is seen from now on in memory. r is the report as it is before anything was seen. Call it before Start. What it
// returns is given all events by the observer, and is to be closed after Finish.
func (o *Observer) Fly(cfg record.FlightConfig, r *report.Report) (*record.Flight, error) {
	patterns := o.analysis.catalogue.Files()
	cfg.Files = func() record.Files { return record.Capture(o.cfg.Files, patterns) }
	var err error
	o.flight, err = record.NewFlight(o.header(r), o.names, cfg)
	return o.flight, err
}

// Now returns until when events were read, in CLOCK_MONOTONIC.
func (o *Observer) Now() time.Duration { return o.analysis.until }

// Violations returns how often automata were violated until now.
func (o *Observer) Violations() uint64 { return o.analysis.checker.Violations() }
