// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/taskiso/taskiso/internal/report"
)

// output is where a report goes.
type output struct {
	p      *program
	opts   *options
	report *report.File // nil if none was asked for
	events *report.File
	buffer *bufio.Writer
	failed error // the first error of writing an event
}

// openOutput opens the files that were asked for, so that one that cannot be
// written is found before anything starts.
func (p *program) openOutput(opts *options) (*output, error) {
	o := &output{p: p, opts: opts}
	var err error
	if opts.report != "" {
		if o.report, err = report.Create(opts.report); err != nil {
			return nil, err
		}
	}
	if opts.events != "" {
		if o.events, err = report.Create(opts.events); err != nil {
			o.discard()
			return nil, err
		}
		o.buffer = bufio.NewWriterSize(o.events, 1<<16)
	}
	return o, nil
}

// discard drops files that were not published.
func (o *output) discard() {
	for _, f := range []*report.File{o.report, o.events} {
		if f != nil {
			f.Discard()
		}
	}
}

// onBreak returns what is to be done with each break, or nil.
func (o *output) onBreak() func(report.Break) {
	if o.events == nil && !o.opts.verbose {
		return nil
	}
	return func(b report.Break) {
		if o.opts.verbose {
			fmt.Fprintln(o.p.stderr, report.BreakLine(b))
		}
		if o.events != nil && o.failed == nil {
			o.failed = json.NewEncoder(o.buffer).Encode(b)
		}
	}
}

// publish prints the report and puts the files in their places.
func (o *output) publish(r *report.Report) error {
	var errs []error
	if o.events != nil {
		if o.failed == nil {
			o.failed = o.buffer.Flush()
		}
		if o.failed == nil {
			o.failed = o.events.Publish()
		}
		errs = append(errs, o.failed)
	}
	if o.report != nil {
		if err := report.WriteJSON(o.report, r); err != nil {
			errs = append(errs, err)
		} else {
			errs = append(errs, o.report.Publish())
		}
	}
	switch {
	case o.opts.json:
		errs = append(errs, report.WriteJSON(o.p.stdout, r))
	case !o.opts.quiet:
		errs = append(errs, report.WriteText(o.p.stderr, r, isTerminal(os.Stderr)))
	}
	return errors.Join(errs...)
}
