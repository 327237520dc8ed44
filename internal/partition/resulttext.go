// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"text/tabwriter"

	"github.com/taskiso/taskiso/internal/printable"
)

// WriteText writes what was done for a reader: not what went as planned, which
// [Store.Show] has, but what did not.
func (c *Created) WriteText(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(printable.Line("Partition %s: CPU %v isolated, CPU %v for everything else; %d changes made.",
		c.Plan.Name, c.Plan.CPUs, c.Plan.Housekeeping, len(c.Plan.All())-len(c.Refused)))
	for _, warning := range c.Plan.Warnings {
		b.WriteString(printable.Line("Warning: %s.", warning))
	}
	for _, s := range c.Plan.Settings {
		if s.State == Lacking || s.State == Unknown {
			b.WriteString(printable.Line("%-9s %-16s %s", s.State, s.Name, s.Reason))
		}
		for _, note := range s.Notes {
			b.WriteString(printable.Line("note      %-16s %s", s.Name, note))
		}
	}
	for _, d := range c.Refused {
		b.WriteString(printable.Line("refused   %s: the kernel will not have it changed", d.Path))
	}
	writeEffects(&b, c.Missed)
	_, err := w.Write(b.Bytes())
	return err
}

func laterOf(effects []Effect) (n int) {
	for _, e := range effects {
		if e.Later {
			n++
		}
	}
	return n
}

func writeEffects(b *bytes.Buffer, missed []Effect) {
	for _, e := range missed {
		word := "no effect"
		if e.Later {
			word = "later"
		}
		b.WriteString(printable.Line("%-9s %-16s %s", word, e.Setting, e.Reason))
	}
}

// WriteText writes what has changed for a reader.
func (v *Verification) WriteText(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(printable.Line("Partition %s: CPU %v; %d settings as they were made, %d changed, %d without effect, %d with one that is to come.",
		v.Name, v.CPUs, v.Held, len(v.Drifts), len(v.Missed)-laterOf(v.Missed), laterOf(v.Missed)))
	for _, d := range v.Drifts {
		b.WriteString(printable.Line("changed   %v", d) + printable.Line("          %s", d.Suspect))
	}
	writeEffects(&b, v.Missed)
	_, err := w.Write(b.Bytes())
	return err
}

// WriteText writes a record for a reader.
func (r *Record) WriteText(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString(printable.Line("Partition %s: CPU %v; %s; %d changes.", r.Name, r.CPUs, r.Condition, r.Changes))
	if r.Cgroup != "" {
		b.WriteString(printable.Line("Tasks that are to run there are written to %s/cgroup.procs first; only then taskset and the like take its CPUs.", r.Cgroup))
	}
	fmt.Fprintln(&b)
	for _, c := range r.Made {
		writeChange(&b, c, 0)
	}
	for _, path := range r.Refused {
		b.WriteString(printable.Line("refused   %s", path))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteList writes a table of partitions.
func WriteList(w io.Writer, list []Summary) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No partitions.")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tCPUS\tCONDITION\tCHANGES")
	for _, s := range list {
		fmt.Fprint(table, printable.Row(s.Name, s.CPUs.String(), string(s.Condition), strconv.Itoa(s.Changes)))
	}
	return table.Flush()
}
