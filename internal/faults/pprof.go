// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	pprof "github.com/google/pprof/profile"

	"github.com/taskiso/taskiso/pagefault"
)

// profile is stacks that faulted, and how often.
type profile struct {
	stacks map[string]*stack
	order  []*stack
}

// stack is faults with the same stack, severity and mapping.
type stack struct {
	frames   []frame
	severity string
	mapping  string
	sum      Sum
}

// frame is an address on a stack with the code that it stands for.
type frame struct {
	at   spot
	ip   uint64
	code pagefault.Mapping
}

func newProfile() *profile { return &profile{stacks: make(map[string]*stack)} }

func (p *profile) add(f *pagefault.Fault) {
	s := &stack{frames: frames(f), severity: f.Severity(), mapping: f.Mapping.String()}
	if p.stacks[s.key()] == nil && len(p.stacks) >= maxPlaces { // code that is generated all the time has ever new ones
		s = &stack{frames: []frame{{at: spot{name: "others"}}}, severity: f.Severity(), mapping: "others"}
	}
	key := s.key()
	if have, ok := p.stacks[key]; ok {
		s = have
	} else {
		p.stacks[key] = s
		p.order = append(p.order, s)
	}
	s.sum.add(f)
}

// frames returns the stack of a fault. All but the first are the instruction after
// a call, and the call is what is of interest.
func frames(f *pagefault.Fault) []frame {
	all := []frame{{spotOf(f.PID, f.IP, f.Code, f.Kernel), f.IP, f.Code}}
	for _, s := range f.Stack[min(1, len(f.Stack)):] {
		all = append(all, frame{spotOf(f.PID, s.IP-1, s.Code, false), s.IP, s.Code})
	}
	return all
}

func (s *stack) key() string {
	var key strings.Builder
	fmt.Fprint(&key, s.severity, " ", s.mapping)
	for _, f := range s.frames {
		fmt.Fprintf(&key, " %x:%d", f.ip, f.at.pid)
	}
	return key.String()
}

// builder makes a profile in the form of pprof, with each thing in it once.
type builder struct {
	p         pprof.Profile
	place     func(spot) place
	locations map[frame]*pprof.Location
	functions map[place]*pprof.Function
	mappings  map[pagefault.Mapping]*pprof.Mapping
}

// WriteProfile writes the stacks of all faults that counted, for go tool pprof. program is the file that it is a
// profile of, "" if that is not known.
func (c *Collector) WriteProfile(w io.Writer, program string, started time.Time, duration time.Duration) error {
	b := builder{
		p: pprof.Profile{
			SampleType:        []*pprof.ValueType{{Type: "faults", Unit: "count"}, {Type: "time", Unit: "nanoseconds"}},
			DefaultSampleType: "faults",
			PeriodType:        &pprof.ValueType{Type: "faults", Unit: "count"},
			Period:            1,
			TimeNanos:         started.UnixNano(),
			DurationNanos:     int64(duration),
		},
		place:     c.place,
		locations: make(map[frame]*pprof.Location),
		functions: make(map[place]*pprof.Function),
		mappings:  make(map[pagefault.Mapping]*pprof.Mapping),
	}
	for _, s := range c.profile.order {
		b.add(s)
	}
	// pprof names a profile after its first mapping, which else is that of the dynamic loader.
	if i := slices.IndexFunc(b.p.Mapping, func(m *pprof.Mapping) bool {
		return m.File == pagefault.Mapping{Kind: pagefault.File, Name: program}.String()
	}); i > 0 {
		b.p.Mapping[0], b.p.Mapping[i] = b.p.Mapping[i], b.p.Mapping[0]
	}
	if err := b.p.CheckValid(); err != nil {
		return fmt.Errorf("building a profile: %w", err)
	}
	if err := b.p.Write(w); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}

func (b *builder) add(s *stack) {
	sample := &pprof.Sample{
		Value: []int64{int64(s.sum.Total()), int64(s.sum.Time)},
		Label: map[string][]string{"severity": {s.severity}, "mapping": {s.mapping}},
	}
	for _, f := range s.frames {
		sample.Location = append(sample.Location, b.location(f))
	}
	b.p.Sample = append(b.p.Sample, sample)
}

func (b *builder) location(f frame) *pprof.Location {
	if l, ok := b.locations[f]; ok {
		return l
	}
	at := b.place(f.at)
	l := &pprof.Location{
		ID: uint64(len(b.p.Location) + 1), Mapping: b.mapping(f.code), Address: f.ip,
		Line: []pprof.Line{{Function: b.function(at), Line: int64(at.Line)}},
	}
	b.locations[f] = l
	b.p.Location = append(b.p.Location, l)
	return l
}

func (b *builder) function(at place) *pprof.Function {
	at.Line = 0
	if f, ok := b.functions[at]; ok {
		return f
	}
	name := cmp.Or(at.Function, "in "+at.object)
	f := &pprof.Function{ID: uint64(len(b.p.Function) + 1), Name: name, SystemName: name, Filename: at.File}
	b.functions[at] = f
	b.p.Function = append(b.p.Function, f)
	return f
}

func (b *builder) mapping(m pagefault.Mapping) *pprof.Mapping {
	if have, ok := b.mappings[m]; ok || m.Kind == pagefault.Unknown {
		return have
	}
	// Symbols are in the profile: pprof need not look for the files.
	mapping := &pprof.Mapping{
		ID: uint64(len(b.p.Mapping) + 1), Start: m.Start, Limit: m.End, Offset: m.Offset, File: m.String(),
		HasFunctions: true, HasFilenames: true, HasLineNumbers: true, HasInlineFrames: true,
	}
	b.mappings[m] = mapping
	b.p.Mapping = append(b.p.Mapping, mapping)
	return mapping
}
