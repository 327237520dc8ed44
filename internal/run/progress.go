// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/output"
)

// ShowProgress shows progress from now on, unless that is unwanted, or the command writes to the same terminal.
func (o *Observation) ShowProgress(ownTerminal bool) {
	if o.cfg.Output.Quiet || o.cfg.Output.Verbose || !ownTerminal {
		return
	}
	o.progress = output.NewProgress(o.cfg.Console.Stderr, o.cfg.Duration)
}

func (o *Observation) showProgress(now time.Time) {
	if !o.progress.Due(now) {
		return
	}
	state := o.observer.Progress()
	o.progress.Print(state.Elapsed, fmt.Sprintf("%s breaks, %s events lost", display.Count(state.Breaks), display.Count(state.Lost)))
}
