// SPDX-License-Identifier: Apache-2.0

package model

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Step is one step of a counterexample.
type Step struct {
	Who  string // cpu, nmi, mce, poster, rcu
	CPU  string // which of them
	What string
}

// The model prints every step as @who, tab, number, tab, text.
var stepLine = regexp.MustCompile(`(?m)@(\w+)\t(\d+)\t(.*)$`)

func parseTrace(out string) []Step {
	var steps []Step
	for _, m := range stepLine.FindAllStringSubmatch(out, -1) {
		steps = append(steps, Step{Who: m[1], CPU: m[2], What: strings.TrimSpace(m[3])})
	}
	return steps
}

const column = 48

// WriteTrace renders a counterexample as a page: posters on the left, the
// isolated CPU on the right, NMIs and machine checks indented.
func WriteTrace(w io.Writer, r Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n", r.Name, r.Got)
	fmt.Fprintf(&b, "Constraint %s of [docs/design/05](../design/05-deferred-synchronisation.md).\n%s\n\n", r.Constraint, r.Why)
	fmt.Fprintf(&b, "A shortest interleaving, found by Spin and written by `make model-traces`:\n\n```\n")
	fmt.Fprintf(&b, "%-*s| %s\n", column, "poster", "isolated CPU")
	fmt.Fprintf(&b, "%s+%s\n", strings.Repeat("-", column), strings.Repeat("-", column))
	for _, s := range r.Trace {
		left, right := s.columns()
		fmt.Fprintln(&b, strings.TrimRight(fmt.Sprintf("%-*s| %s", column, left, right), " "))
	}
	fmt.Fprintf(&b, "%s| => %s\n```\n\nModel: `spin %s -a model/spin/defersync.pml`\n", strings.Repeat(" ", column), r.Got, strings.Join(r.Flags, " "))
	_, err := io.WriteString(w, b.String())
	return err
}

func (s Step) columns() (left, right string) {
	switch s.Who {
	case "poster":
		return s.What, ""
	case "rcu":
		return "RCU " + s.What, ""
	case "nmi":
		return "", "    NMI " + s.What
	case "mce":
		return "", "        machine check " + s.What
	}
	return "", s.What
}

// WriteTable prints results, one line each.
func WriteTable(w io.Writer, results []Result) {
	fmt.Fprintf(w, "%-34s %-5s %12s %12s %9s %7s  %s\n", "run", "", "states", "transitions", "seconds", "MB", "result")
	for _, r := range results {
		ok := "ok"
		if !r.OK() {
			ok = "WRONG"
		}
		got := string(r.Got)
		if n := len(r.Trace); n > 0 {
			got = fmt.Sprintf("%s, %d steps", got, n)
		}
		fmt.Fprintf(w, "%-34s %-5s %12d %12d %9.2f %7d  %s\n", r.Name, ok, r.States, r.Transitions, r.Elapsed.Seconds(), r.Memory>>20, got)
	}
}
