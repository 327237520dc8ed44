// SPDX-License-Identifier: Apache-2.0

// Package cause names what a stay in the kernel was about. The causes and how
// they are recognised are data: catalogue.toml.
package cause

import (
	_ "embed"
	"fmt"
	"iter"
	"slices"

	"github.com/BurntSushi/toml"

	"github.com/taskiso/taskiso/internal/stay"
	"github.com/taskiso/taskiso/internal/trace"
)

//go:embed catalogue.toml
var catalogueText string

// Cause is what a stay was about. Stays with equal causes are counted together.
type Cause struct {
	ID     string // of the rule in the catalogue
	Title  string
	Detail string // what tells stays of one cause apart: a function, a system call ...
}

// String returns the cause as one line.
func (c Cause) String() string {
	if c.Detail == "" {
		return c.Title
	}
	return c.Title + ": " + c.Detail
}

// Names resolves what events carry as numbers.
type Names interface {
	Function(addr uint64) string
	Syscall(number int) string
	IRQ(number int) string
}

// Catalogue is a set of rules, in the order in which they are tried.
type Catalogue struct {
	rules []rule
}

type rule struct {
	ID       string   `toml:"id"`
	Title    string   `toml:"title"`
	Entry    []string `toml:"entry"`
	Function []string `toml:"function"`
	Signal   bool     `toml:"signal"`
	Detail   string   `toml:"detail"`
}

// Load returns the catalogue that is part of the program.
func Load() (*Catalogue, error) { return parse(catalogueText) }

func parse(text string) (*Catalogue, error) {
	var file struct {
		Cause []rule `toml:"cause"`
	}
	meta, err := toml.Decode(text, &file)
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue of causes: %w", err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("reading the catalogue of causes: unknown key %s", unknown[0])
	}
	return &Catalogue{file.Cause}, nil
}

// Of names the cause of s.
func (c *Catalogue) Of(s *stay.Stay, names Names) Cause {
	entry := ""
	if s.Named() {
		entry = s.Entry.Kind.String()
	}
	for _, r := range c.rules {
		if r.matches(s, entry, names) {
			return Cause{ID: r.ID, Title: r.Title, Detail: details[r.Detail](s, r, names)}
		}
	}
	return Cause{ID: "unnamed", Title: "unnamed"}
}

func (r rule) matches(s *stay.Stay, entry string, names Names) bool {
	if len(r.Entry) > 0 && !slices.Contains(r.Entry, entry) {
		return false
	}
	if len(r.Entry) == 0 && entry != "" {
		return false
	}
	if len(r.Function) > 0 && r.function(s, names) == "" {
		return false
	}
	return !r.Signal || slices.ContainsFunc(s.Inside, func(p stay.Part) bool { return p.Event.Kind == trace.Signal })
}

// function returns the first function of the stay that the rule knows.
func (r rule) function(s *stay.Stay, names Names) string {
	for addr := range functions(s) {
		if name := names.Function(addr); slices.Contains(r.Function, name) {
			return name
		}
	}
	return ""
}

// functions are those that the entry of a stay was for, in order. What else ran
// in the stay, such as a timer that expired during a function call, is not its
// cause.
func functions(s *stay.Stay) iter.Seq[uint64] {
	return func(yield func(addr uint64) bool) {
		for _, p := range s.Inside {
			if runsFor(s.Entry.Kind, p.Event.Kind) && !yield(p.Event.A) {
				return
			}
		}
		for sent := range s.Senders() { // an irq_work shows only in who sent it
			if sent.Kind == trace.SendCall && !yield(sent.B) {
				return
			}
		}
	}
}

// runsFor tells whether an event of kind k shows a function that an entry of
// that kind is made for.
func runsFor(entry, k trace.Kind) bool {
	switch entry {
	case trace.LocalTimerEnter:
		return k == trace.HRTimer || k == trace.Timer
	case trace.CallFunctionEnter, trace.CallFunctionSingleEnter:
		return k == trace.CSDEnter
	case trace.NMI:
		return k == trace.NMI
	}
	return false
}

// details maps the words that a rule can ask for to what they say of a stay.
var details = map[string]func(s *stay.Stay, r rule, names Names) string{
	"": func(*stay.Stay, rule, Names) string { return "" },
	"function": func(s *stay.Stay, r rule, names Names) string {
		if len(r.Function) > 0 {
			return r.function(s, names)
		}
		for addr := range functions(s) {
			return names.Function(addr)
		}
		return ""
	},
	"syscall": func(s *stay.Stay, _ rule, names Names) string { return names.Syscall(int(s.Entry.A)) },
	"irq":     func(s *stay.Stay, _ rule, names Names) string { return names.IRQ(int(s.Entry.A)) },
	"handler": func(s *stay.Stay, _ rule, names Names) string { return names.Function(s.Entry.A) },
	"event":   func(s *stay.Stay, _ rule, _ Names) string { return firstEvent(s) },
	"next": func(s *stay.Stay, _ rule, _ Names) string {
		for _, p := range s.Inside {
			if p.Event.Kind == trace.Switch {
				return "to run " + p.Event.Task.Name
			}
		}
		return ""
	},
}

func firstEvent(s *stay.Stay) string {
	if len(s.Inside) == 0 {
		return ""
	}
	e := s.Inside[0].Event
	if e.Kind == trace.Switch {
		return "switch to " + e.Task.Name
	}
	return "first seen: " + e.Kind.String()
}

// Describe says in a few words what an event inside a stay was about.
func Describe(e trace.Event, names Names) string {
	switch e.Kind {
	case trace.SyscallEnter:
		return names.Syscall(int(e.A))
	case trace.IRQEnter:
		return names.IRQ(int(e.A))
	case trace.PageFault:
		return fmt.Sprintf("%#x", e.A)
	case trace.Signal:
		return fmt.Sprintf("signal %d", e.A)
	case trace.SoftirqEnter:
		return softirqName(e.A)
	case trace.Switch:
		return e.Task.Name
	}
	switch e.Kind {
	case trace.CSDEnter, trace.HRTimer, trace.Timer, trace.Work, trace.NMI:
		return names.Function(e.A)
	}
	return ""
}

// softirqName follows the order of the enum in include/linux/interrupt.h, which
// is also that of /proc/softirqs.
func softirqName(vector uint64) string {
	softirqs := [...]string{"HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"}
	if vector < uint64(len(softirqs)) {
		return softirqs[vector]
	}
	return fmt.Sprintf("softirq %d", vector)
}
