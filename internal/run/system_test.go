// SPDX-License-Identifier: Apache-2.0

package run

import (
	"maps"
	"testing"
	"testing/fstest"
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

// countsOf is a machine of two CPUs on which the second one has had n interrupts and softirqs, and lost 10 ms each time.
func countsOf(n string) fstest.MapFS {
	return fstest.MapFS{
		"proc/interrupts": {Data: []byte("      CPU0 CPU1\nLOC:  5 " + n + "  Local timer interrupts\n")},
		"proc/softirqs":   {Data: []byte("      CPU0 CPU1\nTIMER:  5 " + n + "\n")},
		"proc/stat":       {Data: []byte("cpu0 0 0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 " + n + " 0 0\n")},
	}
}

// What the CPUs did is known of CPUs that are observed, also if it is nothing, and of no others.
func TestUsageOfCPUs(t *testing.T) {
	before, err := readSystem(countsOf("3"))
	if err != nil {
		t.Fatal(err)
	}
	for list, want := range map[string]struct {
		counts uint64
		steal  time.Duration
	}{"0": {0, 0}, "0-1": {4, 40 * time.Millisecond}, "1": {4, 40 * time.Millisecond}} {
		cpus, err := cpulist.Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		u, err := before.usage(countsOf("7"), cpus, nil, nil)
		if err != nil || u.Interrupts == nil || u.Softirqs == nil || u.Steal == nil {
			t.Fatalf("CPUs %s: %+v (%v), want what the kernel counted", list, u, err)
		}
		wantInterrupts, wantSoftirqs := map[string]uint64{}, map[string]uint64{}
		if want.counts > 0 {
			wantInterrupts["LOC"], wantSoftirqs["TIMER"] = want.counts, want.counts
		}
		if !maps.Equal(u.Interrupts, wantInterrupts) || !maps.Equal(u.Softirqs, wantSoftirqs) || *u.Steal != want.steal {
			t.Errorf("CPUs %s: interrupts %v, softirqs %v, steal %v", list, u.Interrupts, u.Softirqs, *u.Steal)
		}
	}
	u, err := before.usage(countsOf("7"), cpulist.Set{}, nil, nil)
	if err != nil || u.Interrupts != nil || u.Softirqs != nil || u.Steal != nil {
		t.Errorf("no CPU: %+v (%v), want nothing known", u, err)
	}
}
