// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"testing"

	"github.com/taskiso/taskiso/internal/hold/operation"
)

// Record is a record in the words of tests.
type Record struct{ operation.Record }

// Names that tests of this package use often.
const (
	Held     = operation.Held
	NotHeld  = operation.NotHeld
	Denied   = operation.Denied
	Reported = operation.Reported
	Allowed  = operation.Allowed

	ByWindow = operation.ByWindow
	ByWait   = operation.ByWait
	ByHand   = operation.ByHand
	ByEnd    = operation.ByEnd
	ByDeath  = operation.ByDeath

	ByAbsence = operation.ByAbsence
	ByOwner   = operation.ByOwner
)

type (
	Outcome = operation.Outcome
	Reason  = operation.Reason
)

func (r Record) want(t *testing.T, o Outcome, reason Reason) {
	t.Helper()
	if r.Outcome != o || r.Reason != reason {
		t.Errorf("got %q because %q, want %q because %q", r.Outcome, r.Reason, o, reason)
	}
}

// recordsOf puts records into the words of tests.
func recordsOf(list []operation.Record) []Record {
	var all []Record
	for _, r := range list {
		all = append(all, Record{r})
	}
	return all
}
