// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/topology"
)

// Seen is by what an entry is seen.
type Seen string

// The ways in which an entry can be seen, the best first.
const (
	ByEvent      Seen = "event"      // a tracepoint of its own
	ByCatchAll   Seen = "catch-all"  // context tracking, on nohz_full CPUs, without a name
	ByInterrupts Seen = "interrupts" // counted in /proc/interrupts, but not when it came
	Inside       Seen = "inside"     // it need not be: it begins no stay
	Blind        Seen = "blind"      // by nothing
)

// Point is an entry point of a kernel.
type Point struct {
	Entry
	Seen Seen `json:"seen"`
	// By names the tracepoint or the row of /proc/interrupts.
	By string `json:"by,omitempty"`
}

// Kernel is what a kernel has to see entries by.
type Kernel struct {
	Symbols   []string                     // of its entry code and others
	Event     func(tracepoint string) bool // whether it has "system:name"
	CatchAll  cpulist.Set                  // CPUs on which context tracking is active
	Interrupt func(row string) bool        // whether /proc/interrupts has a row
}

// Read reads the running kernel below the root of files. event reports whether it
// has a tracepoint that can be used.
func Read(files fs.FS, event func(tracepoint string) bool) (Kernel, error) {
	k := Kernel{Event: event}
	f, err := files.Open("proc/kallsyms")
	if err != nil {
		return k, fmt.Errorf("reading the kernel's entry points: %w", err)
	}
	defer f.Close()
	if k.Symbols, err = symbols(f); err != nil {
		return k, fmt.Errorf("reading the kernel's entry points in /proc/kallsyms: %w", err)
	}
	interrupts, err := topology.Interrupts(files)
	if err != nil {
		return k, err
	}
	k.Interrupt = func(name string) bool { _, ok := interrupts.Row(name); return ok }
	nohz, err := topology.NohzFull(files)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without the feature has no such file
		return k, err
	}
	if event(catchAll) {
		k.CatchAll = nohz
	}
	return k, nil
}

// catchAll is the tracepoint of context tracking.
const catchAll = "context_tracking:user_exit"

// symbols returns the names in a file like /proc/kallsyms, without those of
// modules, which have no entries. It needs no addresses, and so no privileges.
func symbols(r io.Reader) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			return nil, fmt.Errorf("line %q: want address, type and name", lines.Text())
		}
		if len(fields) == 3 {
			names = append(names, fields[2])
		}
	}
	return names, lines.Err()
}

// On returns the entry points that a kernel has, and the symbols that look like
// entry points but are not in the table.
func (t *Table) On(k Kernel) (points []Point, unknown []string) {
	has := make(map[string]bool)
	for _, name := range k.Symbols {
		if t.pattern.MatchString(name) {
			has[name] = true
		}
	}
	for _, e := range t.entries {
		if has[e.Symbol] {
			points = append(points, k.point(e))
		}
	}
	for name := range has {
		if !slices.ContainsFunc(t.entries, func(e Entry) bool { return e.Symbol == name }) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return points, unknown
}

func (k Kernel) point(e Entry) Point {
	for _, event := range e.Events {
		if k.Event(event) {
			return Point{e, ByEvent, event}
		}
	}
	switch {
	case e.Tracked && !k.CatchAll.IsEmpty():
		return Point{e, ByCatchAll, catchAll}
	case e.Row != "" && k.Interrupt(e.Row):
		return Point{e, ByInterrupts, e.Row}
	case e.Inside:
		return Point{e, Inside, ""}
	default:
		return Point{e, Blind, ""}
	}
}

// Ways returns the ways in which entries can be seen, the best first.
func Ways() []Seen { return []Seen{ByEvent, ByCatchAll, ByInterrupts, Inside, Blind} }

// Count returns how many of the points are seen in that way.
func Count(points []Point, seen Seen) int {
	n := 0
	for _, p := range points {
		if p.Seen == seen {
			n++
		}
	}
	return n
}
