// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/taskiso/taskiso/internal/printable"
)

// WriteText writes the status for people.
func (s Status) WriteText(w io.Writer) error {
	state := "open: nothing is held"
	if s.Closed {
		state = "closed: operations are held"
	}
	fmt.Fprintf(w, "Hold of process %d for CPU %v is %s (%s).\n", s.PID, s.CPUs, state, s.Why)
	if len(s.Counts) > 0 {
		var parts []string
		for _, o := range slices.Sorted(maps.Keys(s.Counts)) {
			parts = append(parts, fmt.Sprintf("%d %s", s.Counts[o], o))
		}
		fmt.Fprintf(w, "Until now: %s.\n", strings.Join(parts, ", "))
	}
	for _, limit := range limits(s.Missed, s.Seen) {
		fmt.Fprintf(w, "Until now %s.\n", limit)
	}
	if len(s.Held) == 0 {
		_, err := fmt.Fprintln(w, "Nothing waits.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tWAITED\tPROCESS\tUID\tCOMMAND\tOPERATION\tDETAIL")
	for _, r := range s.Held {
		fmt.Fprintf(t, "%d\t%v\t%d\t%d\t%s\t%s\t%s\n", r.ID, r.Held.Round(time.Millisecond), r.PID, r.UID, printable.Text(r.Command), r.Operation, printable.Text(r.Detail))
	}
	return t.Flush()
}

// writeReasons writes each reason why operations are not guarded once.
func writeReasons(w io.Writer, ops []Operation) {
	var reasons []string
	names := make(map[string][]string)
	for _, o := range ops {
		reason := cmp.Or(o.Missing, o.Unknown)
		if reason == "" {
			continue
		}
		if names[reason] == nil {
			reasons = append(reasons, reason)
		}
		names[reason] = append(names[reason], o.Name)
	}
	if len(reasons) > 0 {
		fmt.Fprintln(w)
	}
	for _, r := range reasons {
		who := strings.Join(names[r], ", ")
		if len(names[r]) == len(ops) {
			who = "all"
		}
		fmt.Fprintf(w, "%s: %s\n", who, r)
	}
}

// WriteOperations writes which operations can be held, and which cannot.
func WriteOperations(w io.Writer, ops []Operation) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "OPERATION\tGUARDED\tPREVENTS\tWHAT")
	for _, o := range ops {
		guarded := "yes"
		if o.Missing != "" {
			guarded = "no"
		} else if o.Unknown != "" {
			guarded = "unknown"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", o.Name, guarded, o.Spares, o.What)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	writeReasons(w, ops)
	fmt.Fprintln(w, "\nNot guarded:")
	for _, n := range NotGuarded() {
		if _, err := fmt.Fprintf(w, "  %s: %s\n", n[0], n[1]); err != nil {
			return err
		}
	}
	return nil
}
