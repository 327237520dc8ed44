// SPDX-License-Identifier: Apache-2.0

package cause

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/remedy"
)

// Remedy is one thing that removes a cause.
type Remedy struct {
	Kind remedy.Kind `toml:"kind" json:"kind"`
	Do   string      `toml:"do" json:"do"`
	// Needs are conditions that a machine must meet for the remedy to be possible, and
	// Set those that it meets when the remedy is done already: see condition.go for their form.
	Needs []string `toml:"needs,omitempty" json:"needs,omitempty"`
	Set   []string `toml:"set,omitempty" json:"set,omitempty"`

	needs, set []check
}

// State is what a remedy is on one machine.
type State string

// States of remedies.
const (
	Applies    State = "applies"
	AlreadySet State = "set"        // done already, and in effect
	Asked      State = "asked"      // on the kernel's command line; nothing shows whether it is in effect
	Impossible State = "impossible" // the machine lacks what it needs
	Unknown    State = "unknown"    // what it depends on could not be read
)

// Obstacles returns, in words, which needs of an impossible remedy may be unmet.
func (r Remedy) Obstacles() string {
	texts := make([]string, 0, len(r.needs))
	for _, need := range r.needs {
		texts = append(texts, need.lack())
	}
	return strings.Join(texts, ", or ")
}

// State returns what the remedy is on m for cpus. Conditions on CPUs cannot be
// judged for an empty set.
//
// A word on the command line proves nothing: the kernel may not know the word, may have read
// a later one that overrides it, or may have found other hardware.
func (r Remedy) State(m *Machine, cpus cpulist.Set) State {
	needed, done := all(r.needs, m, cpus), all(r.set, m, cpus)
	wished := slices.ContainsFunc(r.set, func(c check) bool { return c.operator == "boot" })
	switch {
	case len(r.set) > 0 && done == yes && wished:
		return Asked
	case len(r.set) > 0 && done == yes:
		return AlreadySet
	case needed == no:
		return Impossible
	case needed == unclear || done == unclear:
		return Unknown
	default:
		return Applies
	}
}

// String returns the remedy as one line.
func (r Remedy) String() string { return remedy.Line(r.Kind, r.Do) }

// Remedy returns the first remedy of the cause that applies on m for cpus. If none does, it returns the first that may
// apply, or that may be in effect already.
func (c *Catalogue) Remedy(id string, m *Machine, cpus cpulist.Set) (Remedy, bool) {
	row, err := c.Row(id)
	if err != nil {
		return Remedy{}, false
	}
	for _, want := range []State{Applies, Unknown, Asked} {
		for _, r := range row.Remedies {
			if r.State(m, cpus) == want {
				return r, true
			}
		}
	}
	return Remedy{}, false
}

// prepare reads the conditions of the remedy.
func (r *Remedy) prepare() error {
	if kinds := remedy.Kinds(); !slices.Contains(kinds, r.Kind) {
		return fmt.Errorf("a remedy is of kind %q: want one of %q", r.Kind, kinds)
	}
	if r.Do == "" {
		return fmt.Errorf("a %s remedy has no \"do\"", r.Kind)
	}
	var err error
	if r.needs, err = parseChecks(r.Needs); err != nil {
		return err
	}
	r.set, err = parseChecks(r.Set)
	return err
}

// Files returns patterns of the files on which it depends what a remedy is on a machine, without the leading slash.
func (c *Catalogue) Files() []string {
	files := []string{"proc/cmdline"}
	for _, row := range c.rows {
		for _, r := range row.Remedies {
			for _, check := range slices.Concat(r.needs, r.set) {
				if check.operator != "boot" && !slices.Contains(files, check.path) {
					files = append(files, check.path)
				}
			}
		}
	}
	return files
}
