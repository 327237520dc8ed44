// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"

	"github.com/taskiso/taskiso/internal/budget"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/record"
)

// RecordNoise records what is seen from now on to a file, with a measurement of noise. Call it before the observation starts.
func (o *Observation) RecordNoise(file *record.File, loops *noise.Start) {
	o.tape, o.loops = file, loops
}

// LoopGap records a gap of a busy loop.
func (o *Observation) LoopGap(cpu int, g noise.Gap) {
	if o.observer != nil {
		o.observer.LoopGap(cpu, g)
	}
}

// record begins the recording, if one was asked for.
func (o *Observation) record() error {
	if o.tape == nil {
		return nil
	}
	if err := o.tape.Begin(); err != nil {
		return err
	}
	return o.observer.Record(o.tape, &o.Report, o.loops)
}

// EndNoise ends the recording of a measurement of noise.
func (o *Observation) EndNoise(loops *noise.End) error {
	if o.observer == nil {
		return nil
	}
	return o.observer.EndRecording(&o.Report, loops)
}

// publish ends the recording with the report, and publishes that. A recording that could not be written to its end is an error
// after the report was published.
func (o *Observation) publish(judged *budget.Result) error {
	recorded := o.EndNoise(nil)
	return errors.Join(o.out.publish(&o.Report, judged), recorded)
}
