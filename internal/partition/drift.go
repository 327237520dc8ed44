// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"fmt"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// Drift is a value that is no longer, or never was, what a partition made it.
type Drift struct {
	Path   string `json:"path"`
	Before string `json:"before"` // what undo restores
	Want   string `json:"want"`
	Got    string `json:"got"`
	// Suspect names the program that probably did it: a guess from the programs
	// that run and from their known habits.
	Suspect string `json:"suspect,omitempty"`
}

func drift(c change.Change, got string) Drift {
	return Drift{Path: c.Path, Before: c.From, Want: c.To, Got: got}
}

func (d Drift) String() string {
	return fmt.Sprintf("%s: is %q, was set to %q (before that %q)", d.Path, d.Got, d.Want, d.Before)
}
