// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

// Record records on out all that is seen from now on. r is the report as it is before anything was seen, and loops the measurement of noise
// beside which it is seen, or nil. Call it before Start.
func (o *Observer) Record(out io.Writer, r *report.Report, loops *noise.Start) error {
	h := o.header(r)
	h.Noise = loops
	var err error
	o.tape, err = record.NewWriter(out, h, o.names)
	return err
}

// header is what is known when a recording begins.
func (o *Observer) header(r *report.Report) record.Header {
	h := record.Header{
		Version: r.Version, Arch: runtime.GOARCH, Host: r.Host.Host, CPUs: o.cfg.Trace.CPUs, NohzFull: o.cfg.NohzFull,
		Sources: recordedSources(o.tracer.Sources()), Devices: o.names.irqs, Started: r.Started, Task: r.Task, Limits: r.Limits,
	}
	if o.names.symbolsErr != nil {
		h.Symbols = o.names.symbolsErr.Error()
	}
	for _, m := range o.cfg.Monitors {
		h.Monitors = append(h.Monitors, record.Monitor{Name: m.Name(), Text: m.Text()})
	}
	return h
}

// LoopGap records a gap of a busy loop.
func (o *Observer) LoopGap(cpu int, g noise.Gap) {
	if o.tape != nil {
		o.tape.LoopGap(record.LoopGap{CPU: cpu, Gap: g})
	}
}

// EndRecording writes the end of the recording. r is the report with all that came after Finish, and loops what became of the measurement
// of noise, or nil.
func (o *Observer) EndRecording(r *report.Report, loops *noise.End) error {
	if o.tape == nil {
		return nil
	}
	tape := o.tape
	o.tape, o.end.Report, o.end.Noise = nil, r, loops
	if err := tape.Close(&o.end); err != nil {
		return fmt.Errorf("what was recorded until then can be read: %w", err)
	}
	return nil
}

// recordedSources returns the sources of a tracer as a recording has them.
func recordedSources(sources []trace.Source) []record.Source {
	var list []record.Source
	for _, s := range sources {
		r := record.Source{Name: s.Name, Kind: s.Kind, Also: s.Also, Shows: s.Shows, InPlaceOf: s.InPlaceOf}
		if s.Err != nil {
			r.Missing = s.Err.Error()
		}
		list = append(list, r)
	}
	return list
}

// sourcesOf returns them as the tracer lists them. Those of kinds that this program does not know are left out.
func sourcesOf(recorded []record.Source) []trace.Source {
	var list []trace.Source
	for _, r := range recorded {
		if !r.Kind.IsKnown() {
			continue
		}
		s := trace.Source{Name: r.Name, Kind: r.Kind, Also: r.Also, Shows: r.Shows, InPlaceOf: r.InPlaceOf}
		if r.Missing != "" {
			s.Err = errors.New(r.Missing)
		}
		list = append(list, s)
	}
	return list
}
