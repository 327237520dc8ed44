// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/hold"
	"github.com/taskiso/taskiso/internal/run"
)

// holdForRun holds for the CPUs of a run: while a thread of the command is
// isolated, or if none ever asked to be, while a task runs there.
func (o *observation) holdForRun(cfg hold.Config) error {
	cfg.CPUs, cfg.Files = o.target.cpus, o.p.files.View()
	cfg.When.WhileBusy = true
	cfg.Record = o.holds.Add
	h, err := run.OpenHold(cfg)
	if err != nil {
		return err
	}
	o.holding = h
	for _, op := range h.Keeper.Operations() {
		if op.Missing != "" {
			o.report.Limits = append(o.report.Limits, fmt.Sprintf("operation %s is not held: %s", op.Name, op.Missing))
		}
	}
	return nil
}

// endHold lets everything go, and adds to the report what was held.
func (o *observation) endHold() error {
	if o.holding == nil {
		return nil
	}
	limits, err := o.holding.End()
	o.holding = nil
	for _, limit := range limits {
		o.report.Limits = append(o.report.Limits, "hold: "+limit)
	}
	o.holds.Fill(&o.report)
	return err
}
