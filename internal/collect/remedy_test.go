// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"testing"
	"testing/fstest"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/session/account"
)

// A budget knows the breaks without a cause by the same ID.
func TestUnnamedIsThatOfTheCatalogue(t *testing.T) {
	if report.Unnamed != cause.Unnamed {
		t.Errorf("%q in reports, %q in the catalogue", report.Unnamed, cause.Unnamed)
	}
}

func TestRemediesAreForTheCPU(t *testing.T) {
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	m := cause.NewMachine(fstest.MapFS{
		"proc/cmdline":                     {Data: []byte("nohz_full=2\n")},
		"sys/devices/system/cpu/nohz_full": {Data: []byte("2\n")},
	})
	r := &report.Report{CPUs: []report.CPU{
		{CPU: 3, Causes: []report.Cause{{ID: "tick"}, {ID: "syscall"}}},
		{CPU: 2, Causes: []report.Cause{{ID: "tick"}, {ID: "of-another-version"}}},
	}}
	AddRemedies(r, catalogue, m)
	if got := r.CPUs[0].Causes[0].Remedy; got == nil || got.Kind != "boot" || got.Do != "nohz_full=CPULIST" {
		t.Errorf("tick on CPU 3: got remedy %+v", got)
	}
	if got := r.CPUs[0].Causes[1].Remedy; got == nil || got.Kind != "program" {
		t.Errorf("system call: got remedy %+v", got)
	}
	for i, c := range r.CPUs[1].Causes {
		if c.Remedy != nil {
			t.Errorf("cause %d on CPU 2: got remedy %+v, want none", i, c.Remedy)
		}
	}
}

func TestUnnamed(t *testing.T) {
	r := &report.Report{CPUs: []report.CPU{
		{Causes: []report.Cause{{ID: cause.Unnamed, Count: 2}, {ID: "tick", Count: 5}}},
		{Causes: []report.Cause{{ID: cause.Unnamed, Detail: "x", Count: 1}}},
	}}
	if got := Unnamed(r); got != 3 {
		t.Errorf("got %d unnamed breaks, want 3", got)
	}
}

// Breaks and calls of the threads that are not kept apart are one row of the report.
func TestOtherThreadsAreOneRow(t *testing.T) {
	if account.Others != report.OtherThreads {
		t.Errorf("the others are thread %d in session, %d in report", account.Others, report.OtherThreads)
	}
}
