// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	pprof "github.com/google/pprof/profile"

	"github.com/taskiso/taskiso/pagefault"
)

// frame is a named place on a stack.
type frame struct {
	place
	ip   uint64
	code pagefault.Mapping
}

// profile is stacks that faulted, in the form of pprof.
type profile struct {
	p         *pprof.Profile
	samples   map[string]*pprof.Sample
	locations map[frame]*pprof.Location
	functions map[place]*pprof.Function
	mappings  map[pagefault.Mapping]*pprof.Mapping
}

func newProfile() *profile {
	return &profile{
		p: &pprof.Profile{
			SampleType:        []*pprof.ValueType{{Type: "faults", Unit: "count"}, {Type: "time", Unit: "nanoseconds"}},
			DefaultSampleType: "faults",
			PeriodType:        &pprof.ValueType{Type: "faults", Unit: "count"},
			Period:            1,
		},
		samples:   make(map[string]*pprof.Sample),
		locations: make(map[frame]*pprof.Location),
		functions: make(map[place]*pprof.Function),
		mappings:  make(map[pagefault.Mapping]*pprof.Mapping),
	}
}

func (p *profile) add(f *pagefault.Fault, frames []frame) {
	mapping := f.Mapping.String()
	var key strings.Builder
	fmt.Fprint(&key, f.Major, mapping)
	locations := make([]*pprof.Location, 0, len(frames))
	for _, fr := range frames {
		l := p.location(fr)
		locations = append(locations, l)
		fmt.Fprint(&key, " ", l.ID)
	}
	s, ok := p.samples[key.String()]
	if !ok {
		s = &pprof.Sample{
			Location: locations,
			Value:    []int64{0, 0},
			Label:    map[string][]string{"severity": {f.Severity()}, "mapping": {mapping}},
		}
		p.samples[key.String()] = s
		p.p.Sample = append(p.p.Sample, s)
	}
	s.Value[0]++
	s.Value[1] += int64(f.Duration)
}

func (p *profile) location(f frame) *pprof.Location {
	l, ok := p.locations[f]
	if !ok {
		l = &pprof.Location{
			ID: uint64(len(p.p.Location) + 1), Mapping: p.mapping(f.code), Address: f.ip,
			Line: []pprof.Line{{Function: p.function(f.place), Line: int64(f.Line)}},
		}
		p.locations[f] = l
		p.p.Location = append(p.p.Location, l)
	}
	return l
}

func (p *profile) function(at place) *pprof.Function {
	at.Line = 0
	f, ok := p.functions[at]
	if !ok {
		name := cmp.Or(at.Function, "in "+at.object)
		f = &pprof.Function{ID: uint64(len(p.p.Function) + 1), Name: name, SystemName: name, Filename: at.File}
		p.functions[at] = f
		p.p.Function = append(p.p.Function, f)
	}
	return f
}

func (p *profile) mapping(m pagefault.Mapping) *pprof.Mapping {
	have, ok := p.mappings[m]
	if !ok && m.Kind != pagefault.Unknown {
		// Symbols are in the profile: pprof need not look for the files.
		have = &pprof.Mapping{
			ID: uint64(len(p.p.Mapping) + 1), Start: m.Start, Limit: m.End, Offset: m.Offset, File: m.String(),
			HasFunctions: true, HasFilenames: true, HasLineNumbers: true, HasInlineFrames: true,
		}
		p.mappings[m] = have
		p.p.Mapping = append(p.p.Mapping, have)
	}
	return have
}

// WriteProfile writes the stacks of all faults that counted, for go tool pprof.
func (c *Collector) WriteProfile(w io.Writer, started time.Time, duration time.Duration) error {
	p := c.profile.p
	p.TimeNanos, p.DurationNanos = started.UnixNano(), int64(duration)
	if err := p.CheckValid(); err != nil {
		return fmt.Errorf("building a profile: %w", err)
	}
	if err := p.Write(w); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}
