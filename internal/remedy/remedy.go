// SPDX-License-Identifier: Apache-2.0

// Package remedy names where a remedy for an interruption is applied. Reports
// and the catalogue share these names.
package remedy

// Kind is where a remedy is applied.
type Kind = string

// Kinds of remedies, in the order in which they are preferred.
const (
	Runtime Kind = "runtime" // a setting of the running system
	Boot    Kind = "boot"    // a boot parameter or a setting of the firmware
	Program Kind = "program" // a change in the program, or in how it is started
)

// Kinds returns all kinds, the preferred one first.
func Kinds() []Kind { return []Kind{Runtime, Boot, Program} }

// Line returns a remedy as one line: where to apply it, and what to do.
func Line(kind Kind, do string) string { return where(kind) + ": " + do }

func where(kind Kind) string {
	switch kind {
	case Runtime:
		return "at run time"
	case Boot:
		return "at boot"
	default:
		return "in the program"
	}
}
