// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/topology"
)

func written(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := display.Report(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func sample() *Report {
	return &Report{
		Schema: Schema, Version: "v0.1", Host: Host{Host: topology.Host{Kernel: "6.12.1"}, Sources: []Source{}}, Limits: []string{},
		CPUs: []CPU{{CPU: 3, Verdict: VerdictDisturbed, Breaks: 3, Longest: []Break{}, Quiet: Quiet{Histogram: []Bucket{}}, Causes: []Cause{
			{ID: "tick", Title: "tick", Count: 2, Total: 3000, Max: 2000},
			{ID: "syscall", Title: "system call", Detail: "read", Count: 1, Unmeasured: 1},
		}}},
	}
}

func TestReadBack(t *testing.T) {
	want := sample()
	got, err := Read(strings.NewReader(written(t, want)))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, error %v, want %+v", got, err, want)
	}
}

// A report that is cut off anywhere is seen to be so.
func TestReadTruncated(t *testing.T) {
	whole := strings.TrimSpace(written(t, sample()))
	for n := range len(whole) {
		if r, err := Read(strings.NewReader(whole[:n])); !errors.Is(err, ErrTruncated) {
			t.Fatalf("%d of %d bytes: got %+v, error %v, want ErrTruncated", n, len(whole), r, err)
		}
	}
}

func TestReadForeign(t *testing.T) {
	broken := errors.New("broken disk")
	if _, err := Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got error %v, want %v", err, broken)
	}
	for text, want := range map[string]error{
		"":             ErrTruncated,
		"hello":        ErrNotReport,
		"[]":           ErrNotReport,
		"null":         ErrNotReport,
		"{}":           ErrNotReport,
		`{"schema":1}`: ErrNotReport,
		`{"schema":"1","taskiso":"v1","cpus":[]}`:          ErrNotReport,
		`{"schema":0,"taskiso":"v1","cpus":[]}`:            ErrNotReport,
		`{"schema":1,"taskiso":"v1","cpus":{}}`:            ErrNotReport,
		`{"schema":1,"taskiso":"v1","cpus":[{"cpu":"a"}]}`: ErrNotReport,
		`{"schema":1,"taskiso":"v1","cpus":[]} {"a":1}`:    ErrNotReport,
		`{"schema":3,"taskiso":"v9","cpus":[]}`:            ErrNewer,
		`{"at_ns":1,"cpu":3}` + "\n" + `{"at_ns":2}`:       ErrNotReport,
		`{"schema":1,"taskiso":"v1","cpus":[]}`:            nil,
	} {
		if _, err := Read(strings.NewReader(text)); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%s: got error %v, want %v", text, err, want)
		}
	}
}

// A report of schema 1 has other words for two verdicts.
func TestReadsOlderWords(t *testing.T) {
	const older = `{"schema":1,"taskiso":"v0","cpus":[{"cpu":3,"verdict":"broken"},{"cpu":4,"verdict":"unknown"}],"monitors":[{"verdict":"held"},{"verdict":"violated"}]}`
	r, err := Read(strings.NewReader(older))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{r.CPUs[0].Verdict, r.CPUs[1].Verdict, r.Monitors[0].Verdict, r.Monitors[1].Verdict}
	if want := []string{VerdictDisturbed, VerdictUnknown, MonitorSatisfied, MonitorViolated}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Outcomes and reasons of operations were words before they were codes.
func TestReadsOlderHolds(t *testing.T) {
	const older = `{"schema":2,"taskiso":"v0","cpus":[],"holds":[{"outcome":"not held","reason":"another process traces it"},{"outcome":"held","reason":"window"}]}`
	r, err := Read(strings.NewReader(older))
	if err != nil {
		t.Fatal(err)
	}
	if h := r.Holds; h[0].Outcome != operation.NotHeld || h[0].Reason.String() != "another process traces it" || h[1].Reason != operation.ByWindow {
		t.Errorf("got %+v", h)
	}
}

func TestTextHasEachRemedyOnce(t *testing.T) {
	r := sample()
	remedy := &Remedy{Kind: "boot", Do: "nohz_full=CPULIST"}
	r.CPUs[0].Causes[0].Remedy = remedy
	r.CPUs[0].Causes = append(r.CPUs[0].Causes, Cause{ID: "tick", Detail: "again", Count: 1, Remedy: remedy})
	var b bytes.Buffer
	if err := WriteText(&b, r, false); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(b.String(), "→ at boot: nohz_full=CPULIST"); n != 1 {
		t.Errorf("the remedy is printed %d times:\n%s", n, b.String())
	}
}
