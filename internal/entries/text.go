// SPDX-License-Identifier: Apache-2.0

package entries

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/printable"
)

// titles explain what it means to be seen in this way.
var titles = map[Seen]string{
	ByEvent:      "An event of its own names it",
	ByCatchAll:   "Context tracking reports it, without a name",
	ByInterrupts: "Only counted in /proc/interrupts",
	Inside:       "Begins no stay: it does not come from user mode",
	Blind:        "Blind: nothing shows it",
}

// Text returns the list for people, by the way in which the entries are observed.
func (l *List) Text() string {
	var b bytes.Buffer
	b.WriteString(printable.Line("%d entry points of %s (%s)", len(l.Points), l.Kernel, l.Arch))
	if l.CatchAll.IsEmpty() {
		b.WriteString("Context tracking is active on no CPU, so nothing reports entries that have no event.\n")
	} else {
		fmt.Fprintf(&b, "Context tracking reports entries on CPU %v; elsewhere those without an event are not seen.\n", l.CatchAll)
	}
	for _, seen := range Ways() {
		l.section(&b, seen)
	}
	if len(l.Unknown) > 0 {
		b.WriteString("\n" + printable.Line("Not known to this taskiso: %s", strings.Join(l.Unknown, ", ")))
	}
	return b.String()
}

func (l *List) section(b *bytes.Buffer, seen Seen) {
	n := Count(l.Points, seen)
	if n == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s: %d\n", titles[seen], n)
	rows := make([][]string, 0, n)
	for _, p := range l.Points {
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
