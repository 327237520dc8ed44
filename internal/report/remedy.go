// SPDX-License-Identifier: Apache-2.0

package report

import "github.com/taskiso/taskiso/internal/remedy"

// Remedy is what removes a cause on the machine on which it was seen.
type Remedy struct {
	Kind remedy.Kind `json:"kind"`
	Do   string      `json:"do"`
}

// String returns the remedy as one line.
func (r *Remedy) String() string { return remedy.Line(r.Kind, r.Do) }
