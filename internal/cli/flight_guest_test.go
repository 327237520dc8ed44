// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"path/filepath"
	"testing"
	"time"
)

// rareProgram is testdata/rare.c.
const rareProgram = "/bin/rare"

// A rare cause on an isolated CPU is in the only snapshot, with its sender.
func TestGuestFlight(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "snapshots")
	flags := []string{"-c", "3", "--snapshot", "cause=ipi-membarrier", "--snapshot-before", "1s", "--snapshot-after", "20s"} // one of all that comes
	r, files, out := flown(t, guestProgram, dir, flags, rareProgram, "3", "0", "2000")                                       // of more some are lost, and with senders their names on 6.1
	if len(files) != 1 || r.Flight == nil || r.Flight.Peak > r.Flight.Bound {
		t.Fatalf("%d snapshots, %s: %s", len(files), r.Flight, out)
	}
	checkRare(t, replayed(t, guestProgram, files[0]), time.Second)
}
