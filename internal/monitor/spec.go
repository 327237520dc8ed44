// SPDX-License-Identifier: Apache-2.0

// Package monitor checks what happens on a CPU against automata: the files of
// the directory monitors, or those of a user, in the .dot form of the kernel's
// runtime verification (package automaton).
//
// An event of an automaton is a tracepoint of package trace: "user_exit". With
// "_" and a function behind it, it is that tracepoint for this function only:
// "csd_function_entry_do_sync_core". Two are derived: text_poke_begin and
// text_poke_step, see poke.go. Other events are not shown to the automaton.
//
// An automaton that has events of isolation ("isolated", "broken", "left") is one
// for each thread that is isolated, not for a CPU: it is shown that thread's events,
// on any CPU. Its "signal_deliver" is only the signal that the thread asked for at a
// break, and "broken_silently" a break for which none is due.
package monitor

import (
	"embed"
	"fmt"
	"os"
	"strings"

	"github.com/taskiso/taskiso/internal/automaton"
	"github.com/taskiso/taskiso/internal/event"
)

//go:embed monitors/*.dot
var files embed.FS

// Monitor is an automaton whose events all are known. It is immutable.
type Monitor struct {
	name    string
	text    string
	a       *automaton.Automaton
	events  map[event.Kind]*events
	pokes   bool // it has derived events
	threads bool // it is one for each isolated thread
}

// events are those of an automaton that come from one kind.
type events struct {
	any       string            // event for every function, "" if there is none
	functions map[string]string // event by function
}

// Known returns the names of the monitors that need no file.
func Known() []string {
	entries, err := files.ReadDir("monitors")
	if err != nil {
		panic(err) // part of the program
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), ".dot"))
	}
	return names
}

// Load returns a monitor by its name, or by the path of its file, which ends in
// .dot.
func Load(name string) (*Monitor, error) {
	text, err := read(name)
	if err != nil {
		return nil, err
	}
	m, err := Parse(name, string(text))
	if err != nil {
		return nil, fmt.Errorf("reading monitor %s: %w", name, err)
	}
	return m, nil
}

// Name and Text return what Parse makes the monitor of.
func (m *Monitor) Name() string { return m.name }
func (m *Monitor) Text() string { return m.text }

func read(name string) ([]byte, error) {
	if strings.HasSuffix(name, ".dot") {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("reading monitor: %w", err)
		}
		return text, nil
	}
	text, err := files.ReadFile("monitors/" + name + ".dot")
	if err != nil {
		return nil, fmt.Errorf("unknown monitor %q: there are %s; a file of your own ends in .dot", name, strings.Join(Known(), ", "))
	}
	return text, nil
}

// Parse returns a monitor of that name, whose automaton is text.
func Parse(name, text string) (*Monitor, error) {
	a, err := automaton.Parse(text)
	if err != nil {
		return nil, err
	}
	m := &Monitor{name: name, text: text, a: a, events: make(map[event.Kind]*events)}
	for _, name := range a.Events() {
		if err := m.add(name); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Monitor) add(name string) error {
	if name == pokeBegin || name == pokeStep {
		m.pokes = true
		m.of(event.SendCall)
		return nil
	}
	if name == brokenSilently {
		m.threads = true
		m.of(event.Broken)
		return nil
	}
	for k := range event.Kinds() {
		if k.String() == name {
			m.threads = m.threads || k.IsIsolation()
			m.of(k).any = name
			if k == event.Signal {
				m.of(event.Told).any = name
			}
			return nil
		}
		if function, ok := strings.CutPrefix(name, k.String()+"_"); ok && calls(k) {
			m.of(k).functions[function] = name
			return nil
		}
	}
	return fmt.Errorf("event %q is neither a tracepoint that taskiso uses nor one with a function behind it: "+
		"\"taskiso doctor\" and the sources of a report list them", name)
}

func (m *Monitor) of(k event.Kind) *events {
	if m.events[k] == nil {
		m.events[k] = &events{functions: make(map[string]string)}
	}
	return m.events[k]
}

// calls reports whether events of kind k name a function.
func calls(k event.Kind) bool {
	switch k {
	case event.CSDEnter, event.CSDExit, event.HRTimer, event.Timer, event.Work, event.SendCall, event.SendWork:
		return true
	}
	return false
}

// function returns the address of the function that e names.
func function(e event.Event) uint64 {
	if e.Kind.IsSend() {
		return e.B
	}
	return e.A
}
