// SPDX-License-Identifier: Apache-2.0

package change

import (
	"errors"
	"fmt"
)

// Cycle takes a CPU offline and online again.
type Cycle struct{ Text }

// MarshalText returns the name in journals.
func (Cycle) MarshalText() ([]byte, error) { return []byte("cycle"), nil }

func (Cycle) apply(files Files, c Change) error {
	return errors.Join(write(files, c, "0"), write(files, c, "1"))
}

// place: it leaves nothing to restore, unless it was interrupted.
func (k Cycle) place(c Change, got string) Place {
	if got == c.From {
		return AsBefore
	}
	return k.Text.place(c, got)
}

func (Cycle) describe(c Change) string { return fmt.Sprintf("%s: 1 → 0 → 1", c.Path) }
