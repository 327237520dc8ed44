// SPDX-License-Identifier: Apache-2.0

package run

import (
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
	Record      string // file for the recording, "" for none
	Version     string // of taskiso
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
	out := job.Console.Stdout
	if !job.JSON {
		out = job.Console.Text(out)
	}
	print := printHold(out, job.JSON)
	printer := PrintHolds(func(r operation.Record) { _ = print(r) }) // what is not printed is counted
	var tape *holdTape
	if job.Record != "" {
		if tape, err = recordHolds(job.Record, job.Version); err != nil {
			return err
		}
	}
	cfg.Record = job.keep(printer, tape)
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
	if tape != nil {
		err = errors.Join(err, tape.close(limits))
	}
	if n := printer.Close(); n > 0 {
		err = errors.Join(err, fmt.Errorf("printing what was held: %d records are missing, because nobody reads standard output", n))
	}
	for _, limit := range limits {
		fmt.Fprint(stderr, printable.Line("taskiso: %s", limit))
	}
	return err
}

// keep returns what is to be done with each record, or nil.
func (job HoldJob) keep(printer *HoldPrinter, tape *holdTape) func(operation.Record) {
	switch {
	case tape == nil && job.Quiet:
		return nil
	case tape == nil:
		return printer.Add
	}
	return func(r operation.Record) {
		tape.add(r)
		if !job.Quiet {
			printer.Add(r)
		}
	}
}
