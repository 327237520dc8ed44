// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/entries"
	"github.com/taskiso/taskiso/internal/feature"
)

func (p *program) entriesCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "entries",
		Short: "List this kernel's entry points and how each one is observed",
		Long: `entries lists every entry point of this kernel and how it is observed: by an event of
its own, by context tracking on nohz_full CPUs (which reports that the kernel was
entered, but not the cause), only by a counter in /proc/interrupts, or not at all.
The list goes to standard output.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return p.entries(asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// entryPoints is what entries prints.
type entryPoints struct {
	Schema   int             `json:"schema"`
	Kernel   string          `json:"kernel"`
	Arch     string          `json:"arch"`
	CatchAll cpulist.Set     `json:"cpus_catch_all"`
	Points   []entries.Point `json:"entries"`
	Unknown  []string        `json:"unknown"` // symbols that are not in the table
}

// candidates says what n breaks without a name can have been.
func (p *program) candidates(n uint64) string {
	unnamed := display.Count(n) + " breaks have no name"
	e, err := p.readEntries()
	if err != nil {
		return fmt.Sprintf("%s, and what enters this kernel without one is not known: %v", unnamed, err)
	}
	var silent []string
	for _, point := range e.Points {
		switch point.Seen {
		case entries.ByCatchAll, entries.ByInterrupts, entries.Blind:
			silent = append(silent, point.What)
		}
	}
	return fmt.Sprintf("%s; what enters this kernel without one is: %s (\"taskiso entries\")", unnamed, strings.Join(silent, ", "))
}

func (p *program) entries(asJSON bool) error {
	e, err := p.readEntries()
	if err != nil {
		return err
	}
	if asJSON {
		err = display.JSON(p.stdout, e)
	} else {
		_, err = io.WriteString(p.text(p.stdout), e.text())
	}
	if err != nil {
		return fmt.Errorf("writing the entry points: %w", err)
	}
	return nil
}

func (p *program) readEntries() (*entryPoints, error) {
	table, err := entries.Load(runtime.GOARCH)
	if err != nil {
		return nil, err
	}
	kernel, err := entries.Read(p.files.View(), p.tracepoint())
	if err != nil {
		return nil, err
	}
	e := &entryPoints{Schema: 1, Kernel: kernelRelease(), Arch: runtime.GOARCH, CatchAll: kernel.CatchAll, Unknown: []string{}}
	points, unknown := table.On(kernel)
	e.Points = append([]entries.Point{}, points...)
	e.Unknown = append(e.Unknown, unknown...)
	return e, nil
}

// tracepoint returns what tells whether a tracepoint can be used.
func (p *program) tracepoint() func(name string) bool {
	usable := make(map[string]bool)
	for _, f := range feature.All(p.files.View()) {
		usable[f.Name] = f.Answer == feature.Yes
	}
	return func(name string) bool { return usable[name] }
}

// entryTitles say what it means to be seen so.
var entryTitles = map[entries.Seen]string{
	entries.ByEvent:      "An event of its own names it",
	entries.ByCatchAll:   "Context tracking reports it, without a name",
	entries.ByInterrupts: "Only counted in /proc/interrupts",
	entries.Inside:       "Begins no stay: it does not come from user mode",
	entries.Blind:        "Blind: nothing shows it",
}

func (e *entryPoints) text() string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d entry points of %s (%s)\n", len(e.Points), e.Kernel, e.Arch)
	if e.CatchAll.IsEmpty() {
		b.WriteString("Context tracking is active on no CPU, so nothing reports entries that have no event.\n")
	} else {
		fmt.Fprintf(&b, "Context tracking reports entries on CPU %v; elsewhere those without an event are not seen.\n", e.CatchAll)
	}
	for _, seen := range entries.Ways() {
		e.section(&b, seen)
	}
	if len(e.Unknown) > 0 {
		fmt.Fprintf(&b, "\nNot known to this taskiso: %s\n", strings.Join(e.Unknown, ", "))
	}
	return b.String()
}

func (e *entryPoints) section(b *bytes.Buffer, seen entries.Seen) {
	n := entries.Count(e.Points, seen)
	if n == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s: %d\n", entryTitles[seen], n)
	rows := make([][]string, 0, n)
	for _, p := range e.Points {
		if p.Seen == seen {
			rows = append(rows, []string{p.Symbol, p.Part, p.What, p.By, p.Why})
		}
	}
	display.WriteTable(b, withoutEmptyColumns(rows)) // writing to memory cannot fail
}

// withoutEmptyColumns leaves out columns in which no row has anything.
func withoutEmptyColumns(rows [][]string) [][]string {
	for column := len(rows[0]) - 1; column >= 0; column-- {
		empty := true
		for _, row := range rows {
			empty = empty && row[column] == ""
		}
		if !empty {
			continue
		}
		for i, row := range rows {
			rows[i] = append(row[:column:column], row[column+1:]...)
		}
	}
	return rows
}
