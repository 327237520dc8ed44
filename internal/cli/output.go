// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
)

// output is where a report goes.
type output struct {
	p      *program
	opts   *options
	report *display.File // nil if none was asked for
	events *display.File
	sheet  *sheet
	buffer *bufio.Writer
	failed error // the first error of writing an event
}

// openOutput opens the files that were asked for, so that one that cannot be
// written is found before anything starts. Without a file the text goes to out, which is stream.
func (p *program) openOutput(opts *options, out io.Writer, stream *os.File) (*output, error) {
	o := &output{p: p, opts: opts}
	var err error
	if o.sheet, err = p.openSheet(opts.output, out, stream, !opts.quiet && !opts.json); err != nil {
		return nil, err
	}
	if opts.report != "" {
		if o.report, err = display.Create(opts.report); err != nil {
			o.discard()
			return nil, err
		}
	}
	if opts.events != "" {
		if o.events, err = display.Create(opts.events); err != nil {
			o.discard()
			return nil, err
		}
		o.buffer = bufio.NewWriterSize(o.events, 1<<16)
	}
	return o, nil
}

// discard drops files that were not published.
func (o *output) discard() {
	for _, f := range []*display.File{o.report, o.events} {
		if f != nil {
			f.Discard()
		}
	}
	o.sheet.discard()
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

// publish prints the report and puts the files in their places. A report that
// cannot be written to its file is printed even if nothing was to be: the
// observation cannot be made again.
func (o *output) publish(r *report.Report) error {
	files := errors.Join(o.publishEvents(), o.publishReport(r))
	if o.opts.json {
		files = errors.Join(files, report.WriteJSON(o.p.stdout, r))
	}
	text := func(w io.Writer, colour bool) error { return report.WriteText(w, r, colour) }
	return o.sheet.publish(files, text)
}

func (o *output) publishEvents() error {
	if o.events == nil {
		return nil
	}
	if o.failed == nil {
		o.failed = o.buffer.Flush()
	}
	if o.failed == nil {
		o.failed = o.events.Publish()
	}
	return o.failed
}

func (o *output) publishReport(r *report.Report) error {
	if o.report == nil {
		return nil
	}
	if err := report.WriteJSON(o.report, r); err != nil {
		return err
	}
	return o.report.Publish()
}
