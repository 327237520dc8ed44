// SPDX-License-Identifier: Apache-2.0

package measure

import (
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/run"
)

// Report publishes a saved report, or that of a recording, as the command itself did. Its text goes to out, which is stream.
func Report(console output.Console, name string, cfg run.OutputConfig, out io.Writer, stream *os.File) error {
	saved, err := run.OpenSaved(name)
	if err != nil {
		return err
	}
	defer saved.Close()
	if saved.Recording == nil || saved.Recording.Header.Noise == nil || saved.Recording.Header.Part != nil { // a part has breaks, and no sums of loops
		return saved.Publish(console, cfg, out, stream)
	}
	if cfg.Events != "" || cfg.Profile != "" {
		return saved.Error(errors.New("it is a recording of noise, which has gaps and no list of breaks; leave out --events and --pprof"))
	}
	r, err := replay(saved.Recording)
	if err != nil {
		return saved.Error(err)
	}
	return publishAgain(console, r, cfg, out, stream)
}

// replay does a measurement again from its recording.
func replay(in *record.Reader) (*noise.Report, error) {
	start, all := in.Header.Noise, make(collectors)
	to := observe.Listener{
		Break: all.stay,
		Begin: func(at time.Duration) {
			for cpu := range in.Header.CPUs.All() {
				all[cpu] = noise.NewCollector(cpu, nil, at, start.Limit)
			}
		},
		LoopGap: func(g record.LoopGap) {
			if c := all[g.CPU]; c != nil {
				c.Gap(g.Gap)
			}
		},
	}
	seen, err := observe.ReplayTo(in, to)
	if err != nil {
		return nil, err
	}
	if in.End != nil && in.End.Noise != nil {
		return all.conclude(in.End.Noise, seen), nil
	}
	return all.conclude(all.unended(start, seen), seen), nil
}

// unended is what stands for the end of a measurement in a recording without an end.
func (all collectors) unended(start *noise.Start, seen *report.Report) *noise.End {
	end := &noise.End{Report: start.Report, Before: start.Report.Limits}
	end.Report.Started, end.Report.Began = seen.Started, seen.Began
	end.Report.Unended()
	for _, cpu := range slices.Sorted(maps.Keys(all)) {
		end.Loops = append(end.Loops, all[cpu].Unended(seen.Began+seen.Duration))
	}
	return end
}

// publishAgain publishes a report that anybody can have written.
func publishAgain(console output.Console, r *noise.Report, cfg run.OutputConfig, out io.Writer, stream *os.File) error {
	sheet, err := console.OpenSheet(cfg.Text, out, stream, !cfg.JSON)
	if err != nil {
		return err
	}
	defer sheet.Discard()
	var files error
	if cfg.Report != "" {
		files = display.Publish(cfg.Report, func(w io.Writer) error { return display.Report(w, r) })
	}
	if cfg.JSON {
		files = errors.Join(files, display.Report(console.Stdout, r))
	}
	text := func(w io.Writer, _ bool) error { return noise.WriteForeign(w, r) }
	return sheet.Publish(files, text, text)
}
