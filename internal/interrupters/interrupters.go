// SPDX-License-Identifier: Apache-2.0

// Package interrupters makes a profile for "go tool pprof" of who interrupted a task: each break with the stacks of those who sent
// what came, so that a flame graph shows them by the time that they cost.
package interrupters

import (
	"fmt"
	"io"
	"strings"
	"time"

	pprof "github.com/google/pprof/profile"

	"github.com/taskiso/taskiso/internal/report"
)

// maxStacks bounds the stacks that are kept apart. The rest is the stack "others".
const maxStacks = 1 << 14

// Profile collects breaks. Its methods are not safe for concurrent use.
type Profile struct {
	stacks map[string]*stack
	order  []*stack
}

// stack is breaks of one cause on one CPU, with one stack of a sender.
type stack struct {
	frames []string // what came, and then who sent it, from the innermost function to the process
	cause  string   // its id
	cpu    int
	breaks int64
	time   time.Duration
}

// New returns a profile without breaks.
func New() *Profile { return &Profile{stacks: make(map[string]*stack)} }

// Add adds a break. If several have sent what came, each gets the same part of its time, and counts.
func (p *Profile) Add(b report.Break) {
	what := b.What()
	if len(b.Origins) == 0 {
		p.add(stack{frames: []string{what, withoutSender}, cause: b.ID, cpu: b.CPU, breaks: 1, time: b.Duration})
		return
	}
	part := b.Duration / time.Duration(len(b.Origins))
	for i := range b.Origins {
		p.add(stack{frames: framesOf(what, &b.Origins[i]), cause: b.ID, cpu: b.CPU, breaks: 1, time: part})
	}
}

// withoutSender is the outermost frame of what nobody sent, as far as is known.
const withoutSender = "no sender seen"

func framesOf(what string, o *report.Origin) []string {
	frames := append([]string{what}, o.Stack...)
	process := fmt.Sprintf("%s (process %d)", o.Name, o.PID)
	if o.Interrupt {
		process = "interrupts of " + process
	}
	return append(frames, process)
}

func (p *Profile) add(s stack) {
	key := s.key()
	if p.stacks[key] == nil && len(p.stacks) >= maxStacks {
		s.frames, s.cause = []string{"others"}, ""
		key = s.key()
	}
	have := p.stacks[key]
	if have == nil {
		have = &stack{frames: s.frames, cause: s.cause, cpu: s.cpu}
		p.stacks[key] = have
		p.order = append(p.order, have)
	}
	have.breaks += s.breaks
	have.time += s.time
}

func (s *stack) key() string {
	return fmt.Sprintf("%d %s %s", s.cpu, s.cause, strings.Join(s.frames, "\x00"))
}

// Write writes the profile of the observation that has this report. What is in doubt there is in the comments of the profile.
func (p *Profile) Write(w io.Writer, r *report.Report) error {
	breaks := &pprof.ValueType{Type: "breaks", Unit: "count"}
	b := builder{
		Profile: pprof.Profile{
			SampleType:        []*pprof.ValueType{breaks, {Type: "time", Unit: "nanoseconds"}},
			DefaultSampleType: "time",
			PeriodType:        breaks,
			Period:            1,
			TimeNanos:         r.Started.UnixNano(),
			DurationNanos:     int64(r.Duration),
		},
		locations: make(map[string]*pprof.Location),
	}
	for _, d := range r.Doubts {
		b.Comments = append(b.Comments, "in doubt: "+d.Text)
	}
	for _, s := range p.order {
		b.add(s)
	}
	if err := b.CheckValid(); err != nil {
		return fmt.Errorf("building a profile: %w", err)
	}
	if err := b.Profile.Write(w); err != nil {
		return fmt.Errorf("writing a profile: %w", err)
	}
	return nil
}

// builder makes the form of pprof, with each frame in it once.
type builder struct {
	pprof.Profile
	locations map[string]*pprof.Location
}

func (b *builder) add(s *stack) {
	sample := &pprof.Sample{Value: []int64{s.breaks, int64(s.time)}, Label: map[string][]string{"cpu": {fmt.Sprint(s.cpu)}}}
	if s.cause != "" {
		sample.Label["cause"] = []string{s.cause}
	}
	for _, frame := range s.frames {
		sample.Location = append(sample.Location, b.location(frame))
	}
	b.Sample = append(b.Sample, sample)
}

func (b *builder) location(name string) *pprof.Location {
	if l, ok := b.locations[name]; ok {
		return l
	}
	f := &pprof.Function{ID: uint64(len(b.Function) + 1), Name: name}
	l := &pprof.Location{ID: uint64(len(b.Location) + 1), Line: []pprof.Line{{Function: f}}}
	b.Function, b.Location = append(b.Function, f), append(b.Location, l)
	b.locations[name] = l
	return l
}
