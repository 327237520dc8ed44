// SPDX-License-Identifier: Apache-2.0

// Package cause names what a stay in the kernel was about. The causes and how
// they are recognised are data: catalogue.toml.
package cause

import (
	_ "embed"
	"fmt"
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
	for _, p := range s.Inside {
		if !hasFunction(p.Event.Kind) {
			continue
		}
		if name := names.Function(p.Event.A); slices.Contains(r.Function, name) {
			return name
		}
	}
	return ""
}

func hasFunction(k trace.Kind) bool {
	switch k {
	case trace.CSDEnter, trace.HRTimer, trace.Timer, trace.Work, trace.NMI:
		return true
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
		for _, p := range s.Inside {
			if hasFunction(p.Event.Kind) {
				return names.Function(p.Event.A)
			}
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
