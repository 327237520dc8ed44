// SPDX-License-Identifier: Apache-2.0

package run

import (
	"testing"

	"github.com/taskiso/taskiso/internal/hold/operation"
)

func TestHoldPrinter(t *testing.T) {
	var printed []uint64
	p := PrintHolds(func(r operation.Record) { printed = append(printed, r.ID) })
	for id := range uint64(3) {
		p.Add(operation.Record{ID: id})
	}
	if left := p.Close(); left != 0 || len(printed) != 3 || printed[2] != 2 {
		t.Errorf("printed %v, %d left", printed, left)
	}
}

// A reader that reads nothing stops neither who has records nor the end.
func TestHoldPrinterThatIsStuck(t *testing.T) {
	stuck := make(chan struct{})
	defer close(stuck)
	began := make(chan struct{}, 1)
	p := PrintHolds(func(operation.Record) {
		began <- struct{}{}
		<-stuck
	})
	const records = 3 * maxUnprinted
	for id := range uint64(records) {
		p.Add(operation.Record{ID: id})
	}
	<-began
	if left := p.Close(); left != records {
		t.Errorf("%d records are not printed, want %d", left, records)
	}
}
