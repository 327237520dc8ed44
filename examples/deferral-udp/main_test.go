// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

func TestNoLookupIsDroppedWhileTablesAreSwapped(t *testing.T) {
	const length, swaps = 2 * time.Second, 1000
	r, err := run(options{length: length, swaps: swaps, cpu: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r)
	if r.Missed != 0 || r.Torn != 0 {
		t.Errorf("%d lookups missed, %d torn", r.Missed, r.Torn)
	}
	if r.Packets == 0 || r.LastSeen != r.LastPublished {
		t.Errorf("%d packets; last table %d of %d", r.Packets, r.LastSeen, r.LastPublished)
	}
	// Less than the rate, because the machine may have other work: a loop that
	// does not run sees only the latest of the tables in between.
	if r.Published < uint64(length.Seconds()*swaps)/2 || r.Seen < 100 {
		t.Errorf("%d tables published, %d seen", r.Published, r.Seen)
	}
}
