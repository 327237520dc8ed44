// SPDX-License-Identifier: Apache-2.0

package run

import (
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/report"
)

// A program that tries an operation for ever does not fill the memory of a run.
func TestHoldsOfARunAreBounded(t *testing.T) {
	var l HoldLog
	for id := range uint64(3 * maxHolds) {
		l.Add(operation.Record{ID: id})
	}
	var r report.Report
	l.Fill(&r)
	if len(r.Holds) != maxHolds || r.Holds[maxHolds-1].ID != maxHolds-1 {
		t.Errorf("%d operations are listed, want the first %d", len(r.Holds), maxHolds)
	}
	if limits := strings.Join(r.Limits, "\n"); !strings.Contains(limits, "2000 came later") {
		t.Errorf("limits %q do not name the bound", limits)
	}
}
