// SPDX-License-Identifier: Apache-2.0

package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/taskiso/taskiso/internal/hold"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/printable"
)

// HoldJob is a hold by itself, not for a run.
type HoldJob struct {
	Console     output.Console
	Files       fs.FS
	Config      hold.Config // except for CPUs, Files and Record
	CPUs        place.Request
	Duration    time.Duration // 0 for no end
	JSON, Quiet bool
}

// HoldCPUs holds operations until the duration is over or a signal comes, and prints them.
func HoldCPUs(job HoldJob) error {
	t, err := place.Plan(job.Files, job.CPUs)
	if err != nil {
		return err
	}
	if err := place.KeepOff(t.CPUs, t.Housekeeping); err != nil {
		return err
	}
	cfg := job.Config
	cfg.CPUs, cfg.Files = t.CPUs, job.Files
	printer := PrintHolds(job.print())
	if !job.Quiet {
		cfg.Record = printer.Add
	}
	h, err := OpenHold(cfg)
	if err != nil {
		return err
	}
	stderr := job.Console.Stderr
	if !job.Quiet && !job.JSON {
		fmt.Fprintf(stderr, "taskiso: holding for CPU %v; end with Ctrl-C\n", cfg.CPUs)
	}
	h.Wait(job.Duration)
	limits, err := h.End()
	if n := printer.Close(); n > 0 {
		err = errors.Join(err, fmt.Errorf("printing what was held: %d records are missing, because nobody reads standard output", n))
	}
	for _, limit := range limits {
		fmt.Fprint(stderr, printable.Line("taskiso: %s", limit))
	}
	return err
}

// print returns a function that prints a record.
func (job HoldJob) print() func(operation.Record) {
	enc := json.NewEncoder(job.Console.Stdout)
	return func(r operation.Record) {
		if job.JSON {
			enc.Encode(r)
		} else {
			fmt.Fprintln(job.Console.Text(job.Console.Stdout), r)
		}
	}
}
