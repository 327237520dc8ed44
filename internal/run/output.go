// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/taskiso/taskiso/internal/budget"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/interrupters"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/report/screen"
)

// OutputConfig is what is printed and written of a report.
type OutputConfig struct {
	Report, Text, Events string // files, "" for none
	JUnit                string // file for the outcome of the budget
	Record               string // file for the recording
	Profile              string // file for a profile of who interrupted
	Quiet                bool   // print no report
	Verbose              bool   // print each break as it comes
	JSON                 bool   // print the report as JSON on standard output
	Full                 bool   // print the whole report, not only its first screen
	Sort                 screen.Order
}

// Output is where a report goes.
type Output struct {
	console output.Console
	cfg     OutputConfig
	report  *display.File // nil if none was asked for
	events  *display.File
	junit   *display.File
	record  *record.File
	profile *display.File
	senders *interrupters.Profile // for profile
	sheet   *output.Sheet
	buffer  *bufio.Writer
	failed  error // the first error of writing an event
	foreign bool  // anybody can have written what is published
}

// OpenOutput opens the files that were asked for, so that one that cannot be
// written is found before anything starts. Without a file the text goes to out, which is stream.
func OpenOutput(console output.Console, cfg OutputConfig, out io.Writer, stream *os.File) (*Output, error) {
	o := &Output{console: console, cfg: cfg}
	var err error
	if o.sheet, err = console.OpenSheet(cfg.Text, out, stream, !cfg.Quiet && !cfg.JSON); err != nil {
		return nil, err
	}
	for file, name := range map[**display.File]string{&o.report: cfg.Report, &o.events: cfg.Events, &o.junit: cfg.JUnit, &o.profile: cfg.Profile} {
		if name == "" {
			continue
		}
		if *file, err = display.Create(name); err != nil {
			o.Discard()
			return nil, err
		}
	}
	if cfg.Record != "" {
		if o.record, err = record.Create(cfg.Record); err != nil {
			o.Discard()
			return nil, err
		}
	}
	if o.profile != nil {
		o.senders = interrupters.New()
	}
	if o.events != nil {
		o.buffer = bufio.NewWriterSize(o.events, 1<<16)
	}
	return o, nil
}

// Discard drops files that were not published.
func (o *Output) Discard() {
	for _, f := range []*display.File{o.report, o.events, o.junit, o.profile} {
		if f != nil {
			f.Discard()
		}
	}
	if o.record != nil {
		o.record.Discard()
	}
	o.sheet.Discard()
}

// onBreak returns what is to be done with each break, or nil.
func (o *Output) onBreak() func(report.Break) {
	if o.events == nil && o.senders == nil && !o.cfg.Verbose {
		return nil
	}
	return func(b report.Break) {
		if o.cfg.Verbose {
			fmt.Fprintln(o.console.Stderr, report.BreakLine(b))
		}
		if o.senders != nil {
			o.senders.Add(b)
		}
		if o.events != nil && o.failed == nil {
			o.failed = json.NewEncoder(o.buffer).Encode(b)
		}
	}
}

// publish prints the report and puts the files in their places. A report that
// cannot be written to its file is printed even if nothing was to be: the
// observation cannot be made again. judged is what became of the budget, nil if there is none.
func (o *Output) publish(r *report.Report, judged *budget.Result) error {
	files := errors.Join(o.publishEvents(), o.publishReport(r), o.publishJUnit(judged), o.publishProfile(r))
	if o.cfg.JSON {
		files = errors.Join(files, display.Report(o.console.Stdout, r))
	}
	whole := func(w io.Writer, colour bool) error {
		if o.foreign {
			return report.WriteForeign(w, r)
		}
		if err := report.WriteText(w, r, colour); err != nil || judged == nil {
			return err
		}
		if _, err := io.WriteString(w, "\n"); err != nil {
			return err
		}
		return judged.WriteText(w)
	}
	if o.cfg.Full {
		return o.sheet.Publish(files, whole, whole)
	}
	return o.sheet.Publish(files, whole, func(w io.Writer, colour bool) error {
		return o.printScreen(w, r, judged, colour)
	})
}

// printScreen prints the first screen of the report, and what became of the budget.
func (o *Output) printScreen(w io.Writer, r *report.Report, judged *budget.Result, colour bool) error {
	var below bytes.Buffer
	if judged != nil {
		below.WriteString("\n")
		if err := judged.WriteText(&below); err != nil {
			return err
		}
	}
	how := screen.Options{Width: o.sheet.Columns(), Below: bytes.Count(below.Bytes(), []byte("\n")), Sort: o.cfg.Sort, Colour: colour, ASCII: o.console.ASCII}
	if err := screen.Write(w, r, how); err != nil {
		return err
	}
	_, err := below.WriteTo(w)
	return err
}

func (o *Output) publishJUnit(judged *budget.Result) error {
	if o.junit == nil || judged == nil {
		return nil
	}
	if err := judged.WriteJUnit(o.junit); err != nil {
		return err
	}
	return o.junit.Publish()
}

func (o *Output) publishProfile(r *report.Report) error {
	if o.profile == nil {
		return nil
	}
	if err := o.profile.Restrict(); err != nil { // it is compressed: Write sees no address in it
		return err
	}
	if err := o.senders.Write(o.profile, r); err != nil {
		return err
	}
	return o.profile.Publish()
}

func (o *Output) publishEvents() error {
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

func (o *Output) publishReport(r *report.Report) error {
	if o.report == nil {
		return nil
	}
	if err := display.Report(o.report, r); err != nil {
		return err
	}
	return o.report.Publish()
}
