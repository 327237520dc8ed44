// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/hold"
)

// holdForRun holds for the CPUs of a run: while a thread of the command is
// isolated, or if none ever asked to be, while a task runs there.
func (o *Observation) holdForRun(cfg hold.Config) error {
	cfg.CPUs, cfg.Files = o.cfg.Target.CPUs, o.cfg.Files
	cfg.When.WhileBusy = true
	cfg.Record = o.holds.Add
	h, err := OpenHold(cfg)
	if err != nil {
		return err
	}
	o.hold = h
	for _, op := range h.Keeper.Operations() {
		if op.Missing != "" {
			o.Report.Limits = append(o.Report.Limits, fmt.Sprintf("operation %s is not held: %s", op.Name, op.Missing))
		}
	}
	return nil
}

// endHold lets everything go, and adds to the report what was held.
func (o *Observation) endHold() error {
	if o.hold == nil {
		return nil
	}
	limits, err := o.hold.End()
	o.hold = nil
	for _, limit := range limits {
		o.Report.Limits = append(o.Report.Limits, "hold: "+limit)
	}
	o.holds.Fill(&o.Report)
	return err
}
