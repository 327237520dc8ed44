// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/internal/event"
)

// rule recognises one cause. All conditions that it has must hold; a condition
// holds when one of its words does. A word that ends in "*" stands for all that
// begin like it.
type rule struct {
	Entry    []string `toml:"entry"`
	Absence  []string `toml:"absence"`
	Function []string `toml:"function"`
	Sender   []string `toml:"sender"`
	Signal   []string `toml:"signal"`
	Work     []string `toml:"work"`
	Next     []string `toml:"next"`
	Fault    []string `toml:"fault"`
	Tick     []string `toml:"tick"`
	Syscall  []string `toml:"syscall"`
	IRQ      []string `toml:"irq"`
	Detail   string   `toml:"detail"`

	id, title  string
	entries    []string // Entry without groups
	conditions []condition
}

// condition asks one thing of a stay.
type condition struct {
	of    aspect
	words []string
}

// Unnamed stands for the entry of a stay that no event named, and is the id of
// its cause.
const Unnamed = "unnamed"

func (r *rule) isEmpty() bool {
	return len(r.Entry)+len(r.Detail) == 0 && len(r.ask()) == 0
}

// prepare resolves the words of the rule, so that a misspelt one is found.
func (r *rule) prepare(row Row, groups map[string][]string, entries map[string]bool) error {
	r.id, r.title = row.ID, row.Title
	if len(r.Entry) == 0 {
		return errors.New("it has neither \"entry\" nor \"visible\"")
	}
	for _, word := range r.Entry {
		group, ok := groups[word]
		if !ok {
			group = []string{word}
		}
		for _, entry := range group {
			if !entries[entry] {
				return fmt.Errorf("no event is called %q", entry)
			}
			if !slices.Contains(r.entries, entry) {
				r.entries = append(r.entries, entry)
			}
		}
	}
	if _, ok := details[r.Detail]; !ok {
		return fmt.Errorf("%q is not a detail that a rule can have", r.Detail)
	}
	r.conditions = r.ask()
	return nil
}

// ask returns the conditions beside the entry, the cheapest first.
func (r *rule) ask() []condition {
	var conditions []condition
	for _, c := range []condition{
		{absence, r.Absence}, {syscallName, r.Syscall}, {irqName, r.IRQ}, {faultKind, r.Fault}, {tick, r.Tick}, {function, r.Function},
		{sender, r.Sender}, {signalName, r.Signal}, {next, r.Next}, {work, r.Work},
	} {
		if len(c.words) > 0 {
			conditions = append(conditions, c)
		}
	}
	return conditions
}

func (r *rule) matches(s *subject) bool {
	for _, c := range r.conditions {
		if !c.holds(s) {
			return false
		}
	}
	return true
}

func (c condition) holds(s *subject) bool {
	value := s.get(c.of)
	if c.of == sender {
		return slices.ContainsFunc(s.sentBy, c.names)
	}
	return value != "" && c.names(value)
}

func (c condition) names(value string) bool {
	return slices.ContainsFunc(c.words, func(word string) bool { return covers(word, value) })
}

// covers reports whether word stands for value.
func covers(word, value string) bool {
	if prefix, ok := strings.CutSuffix(word, "*"); ok {
		return strings.HasPrefix(value, prefix)
	}
	return word == value
}

// entryNames are those of the events that can enter the kernel.
func entryNames() map[string]bool {
	names := map[string]bool{Unnamed: true}
	for _, k := range entryKinds() {
		names[k.String()] = true
	}
	return names
}

func entryKinds() []event.Kind {
	kinds := []event.Kind{event.SyscallEnter, event.PageFault, event.IRQEnter, event.NMI, event.VectorFreed}
	for k := event.LocalTimerEnter; k.IsVector(); k++ {
		if k.IsVectorEnter() {
			kinds = append(kinds, k)
		}
	}
	return kinds
}
