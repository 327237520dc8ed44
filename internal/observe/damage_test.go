// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// Whatever byte of a recording is wrong, and wherever it ends: nothing that depends on it is claimed. Only without its header there is no report.
func TestExploreNoClaimFromADamagedRecording(t *testing.T) {
	whole := observeAll(t, []event.Batch{
		{Until: 2000, Events: []event.Event{app(1000), in(event.UserEnter, 1010)}},
		{Until: 5e9, Events: kernelStay(3e9, 3e9+10, in(event.SyscallEnter, 3e9+5))},
		{Until: 10e9, Events: kernelStay(6e9, 6e9+10, in(event.SyscallEnter, 6e9+5))},
	}, true).recording
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Index(whole, []byte("data"))
	for at := data; at < len(whole); at++ {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1 << (at % 8)
		checkNoClaim(t, catalogue, damaged, at)
		checkNoClaim(t, catalogue, whole[:at], at)
	}
	for at := range data {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 1 << (at % 8)
		if _, err := record.NewReader(bytes.NewReader(damaged)); err == nil {
			t.Errorf("byte %d of the header: no error", at)
		}
	}
}

func checkNoClaim(t *testing.T, catalogue *cause.Catalogue, recording []byte, at int) {
	t.Helper()
	in, err := record.NewReader(bytes.NewReader(recording))
	if err != nil {
		t.Fatalf("byte %d: %v", at, err)
	}
	r, err := replayWith(catalogue, in, Listener{})
	if err != nil {
		t.Fatalf("byte %d: %v", at, err)
	}
	limit := func(l string) bool {
		return strings.HasPrefix(l, "gaps in the recording (1), ") || strings.HasPrefix(l, "the recording has no end")
	}
	if r.Unjudged() == "" || !slices.ContainsFunc(r.Limits, limit) {
		t.Errorf("byte %d: it is judged, with limits %q", at, r.Limits)
	}
	for _, m := range r.Monitors {
		if m.Verdict != report.VerdictUnknown {
			t.Errorf("byte %d: monitor %s is %s", at, m.Monitor, m.Verdict)
		}
	}
	for _, cpu := range r.CPUs {
		if cpu.Verdict == report.VerdictQuiet {
			t.Errorf("byte %d: CPU %d is quiet", at, cpu.CPU)
		}
	}
}
