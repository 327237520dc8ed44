// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"errors"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/record"
)

// files are the files that were asked for; others are nil.
type files struct {
	report, histogram, hgrm, hlog, plot *display.File
	record                              *record.File
}

// createFiles opens them, so that one that cannot be written is found before
// anything starts.
func createFiles(cfg *Config) (files, error) {
	var f files
	for _, want := range []struct {
		path string
		file **display.File
	}{{cfg.Observation.Output.Report, &f.report}, {cfg.Histogram, &f.histogram}, {cfg.Percentiles, &f.hgrm}, {cfg.Log, &f.hlog}, {cfg.Plot, &f.plot}} {
		if want.path == "" {
			continue
		}
		var err error
		if *want.file, err = display.Create(want.path); err != nil {
			f.discard()
			return f, err
		}
	}
	if name := cfg.Observation.Output.Record; name != "" {
		var err error
		if f.record, err = record.Create(name); err != nil {
			f.discard()
			return f, err
		}
	}
	return f, nil
}

// discard drops files that were not published.
func (f *files) discard() {
	for _, file := range []*display.File{f.report, f.histogram, f.hgrm, f.hlog, f.plot} {
		if file != nil {
			file.Discard()
		}
	}
	if f.record != nil {
		f.record.Discard()
	}
}

func (f *files) publish(r *noise.Report, records []*noise.Record) error {
	var errs []error
	put := func(file *display.File, write func() error) {
		if file == nil {
			return
		}
		err := write()
		if err == nil {
			err = file.Publish()
		}
		errs = append(errs, err)
	}
	put(f.report, func() error { return display.Report(f.report, r) })
	put(f.histogram, func() error { return noise.WriteHistogram(f.histogram, r, records) })
	put(f.hgrm, func() error { return noise.WritePercentiles(f.hgrm, records) })
	put(f.hlog, func() error { return noise.WriteLog(f.hlog, r, records) })
	put(f.plot, func() error { return noise.WritePlot(f.plot, r, records) })
	return errors.Join(errs...)
}
