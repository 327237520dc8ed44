// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"fmt"
	"io"

	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/printable"
)

// WriteText writes the plan for a reader.
func (p *Plan) WriteText(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(printable.Line("Partition %s: CPU %v isolated, CPU %v for everything else; profile %s.", p.Name, p.CPUs, p.Housekeeping, p.Profile))
	if p.Refused != "" {
		b.WriteString(printable.Line("Refused by \"taskiso partition create\": %s.", p.Refused))
	}
	for _, warning := range p.Warnings {
		b.WriteString(printable.Line("Warning: %s.", warning))
	}
	b.WriteByte('\n')
	for _, s := range p.Settings {
		s.writeText(&b)
	}
	b.WriteString("\n" + printable.Line("%s.", p.summary()))
	_, err := w.Write(b.Bytes())
	return err
}

func (s *Setting) writeText(b *bytes.Buffer) {
	switch s.State {
	case Changes:
		b.WriteString(printable.Line("%-9s %-16s because %s", s.State, s.Name, s.Why))
	case Set:
		b.WriteString(printable.Line("%-9s %s", s.State, s.Name))
	default:
		b.WriteString(printable.Line("%-9s %-16s %s", s.State, s.Name, s.Reason))
	}
	writeChanges(b, s.Changes)
	for _, note := range s.Notes {
		b.WriteString(printable.Line("          note: %s", note))
	}
}

// maxLines bounds what is shown of one setting: a server has thousands of
// interrupts. All of them are in JSON.
const maxLines = 6

// writeChanges writes changes that differ only in their path as one.
func writeChanges(b *bytes.Buffer, changes []change.Change) {
	type values struct {
		kind     change.Kind
		from, to string
	}
	count := map[values]int{}
	for _, c := range changes {
		count[values{c.Kind, c.From, c.To}]++
	}
	lines, left := 0, len(changes)
	for _, c := range changes {
		key := values{c.Kind, c.From, c.To}
		n := count[key]
		if n == 0 {
			continue // listed with the first of its kind
		}
		if lines == maxLines {
			b.WriteString(printable.Line("          and %d more; --json has them all", left))
			return
		}
		writeChange(b, c, n-1)
		lines, left = lines+1, left-n
		delete(count, key)
	}
}

func writeChange(b *bytes.Buffer, c change.Change, others int) {
	more := ""
	if others > 0 {
		more = fmt.Sprintf(", and the same in %d more", others)
	}
	b.WriteString(printable.Line("          %v%s", c, more))
}

func (p *Plan) summary() string {
	count := map[State]int{}
	for _, s := range p.Settings {
		count[s.State]++
	}
	text := fmt.Sprintf("%d writes for %d settings; %d are as they should be", len(p.All()), count[Changes], count[Set])
	for _, state := range []State{Needless, Left, Lacking, Elsewhere, Refused, Unknown} {
		if count[state] > 0 {
			text += fmt.Sprintf(", %d %s", count[state], state)
		}
	}
	return text
}

// WriteText writes the words for a reader.
func (b *Boot) WriteText(w io.Writer) error {
	var text bytes.Buffer
	for _, warning := range b.Warnings {
		text.WriteString(printable.Line("Warning: %s.", warning))
	}
	for _, word := range b.Words {
		text.WriteString(printable.Line("%-9s %s", word.State, word.Word) + printable.Line("          %s", word.Gives))
		if word.Present != "" && word.State != Set {
			text.WriteString(printable.Line("          booted with: %s", word.Present))
		}
		if word.Reason != "" {
			text.WriteString(printable.Line("          %s", word.Reason))
		}
	}
	if line := b.Line(); line != "" {
		text.WriteString("\nTo add, or to write in place of what is there:\n" + printable.Line("%s", line))
	} else {
		text.WriteString("\nNothing to add" + b.rest() + ".\n")
	}
	_, err := w.Write(text.Bytes())
	return err
}

// rest returns the reason why nothing is to be added although not all of it is in effect.
func (b *Boot) rest() string {
	count := map[State]int{}
	for _, w := range b.Words {
		count[w.State]++
	}
	if count[Lacking]+count[Unknown] == 0 {
		return ": this kernel was booted with all of it"
	}
	return fmt.Sprintf(": words of no use on this kernel: %d; not known: %d", count[Lacking], count[Unknown])
}
