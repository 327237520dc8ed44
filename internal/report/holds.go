// SPDX-License-Identifier: Apache-2.0

package report

import (
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/hold/operation"
)

// shownHolds is how many operations are listed; all are in the JSON report.
const shownHolds = 20

// holds lists the operations of others that --hold kept back, or did not.
func (t *text) holds(r *Report) {
	if len(r.Holds) == 0 {
		return
	}
	outcomes := make(map[operation.Outcome]uint64)
	for _, h := range r.Holds {
		outcomes[h.Outcome]++
	}
	t.Printf("\nOperations of others that would interrupt: %s held", display.Count(outcomes[operation.Held]))
	for _, o := range []operation.Outcome{operation.Denied, operation.Reported, operation.Allowed, operation.NotHeld} {
		if n := outcomes[o]; n > 0 {
			t.Printf(", %s %s", display.Count(n), o)
		}
	}
	t.Printf("\n")
	for i, h := range r.Holds {
		if i == shownHolds {
			t.Printf("  and %s more, in the JSON report\n", display.Count(uint64(len(r.Holds)-i)))
			break
		}
		t.Printf("  %s\n", h)
	}
}
