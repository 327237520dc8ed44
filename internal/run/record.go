// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"

	"github.com/taskiso/taskiso/internal/budget"
)

// record begins the recording, if one was asked for.
func (o *Observation) record() error {
	if o.out == nil || o.out.record == nil {
		return nil
	}
	if err := o.out.record.Begin(); err != nil {
		return err
	}
	return o.observer.Record(o.out.record, &o.Report)
}

// publish ends the recording with the report, and publishes that. A recording that could not be written to its end is an error
// after the report was published.
func (o *Observation) publish(judged *budget.Result) error {
	var recorded error
	if o.observer != nil {
		recorded = o.observer.EndRecording(&o.Report)
	}
	return errors.Join(o.out.publish(&o.Report, judged), recorded)
}
