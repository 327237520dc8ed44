// SPDX-License-Identifier: Apache-2.0

package hold

// transition is a line of the table of a machine: what an event does in a state.
type transition[S, E, A comparable] struct {
	in S
	on E
	to S
	do []A // in this order
}

// table is all that a machine does. An event for which a state has no line is not expected there,
// and does nothing; one that is expected and does nothing has a line without actions.
type table[S, E, A comparable] []transition[S, E, A]

// find returns the line for an event in a state.
func (t table[S, E, A]) find(in S, on E) (line transition[S, E, A], listed bool) {
	for _, line := range t {
		if line.in == in && line.on == on {
			return line, true
		}
	}
	return line, false
}
