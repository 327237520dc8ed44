// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"strings"
	"testing"
)

const pkg = "github.com/taskiso/taskiso/internal/hold"

// lines are a run in which one test of a guest passes and one fails.
func lines(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, e := range []event{
		{Action: "run", Package: pkg, Test: "TestVM/sid-7.2"},
		{Action: "output", Package: pkg, Test: "TestVM/sid-7.2", Output: "    run.go:95: 7.2.13, tcg: booted after 5.12 s, ended after 93.5 s\n"},
		{Action: "output", Package: pkg, Test: "TestVM/sid-7.2/TestGuestA", Output: "    run.go:99: guest, 12.25 s\n"},
		{Action: "pass", Package: pkg, Test: "TestVM/sid-7.2/TestGuestA"},
		{Action: "output", Package: pkg, Test: "TestVM/sid-7.2/TestGuestB", Output: "    run.go:99: guest, 80.00 s:\n        wrong answer\n"},
		{Action: "fail", Package: pkg, Test: "TestVM/sid-7.2/TestGuestB"},
		{Action: "fail", Package: pkg, Test: "TestVM/sid-7.2", Elapsed: 94},
		{Action: "output", Package: pkg, Output: "FAIL\t" + pkg + "\t94.1s\n"},
		{Action: "fail", Package: pkg, Elapsed: 94.1},
	} {
		line, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(append(line, '\n'))
	}
	return b.String()
}

func TestReadPrintsWhatFailed(t *testing.T) {
	var out strings.Builder
	if err := newResults().read(strings.NewReader(lines(t)), &out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"wrong answer", "ended after 93.5 s", "FAIL\t" + pkg, "guest of internal/hold TestVM/sid-7.2 ended after 94 s\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "12.25") {
		t.Errorf("output of a test that passed is printed:\n%s", &out)
	}
}

func TestTables(t *testing.T) {
	r := newResults()
	for range 2 {
		if err := r.read(strings.NewReader(lines(t)), new(strings.Builder)); err != nil {
			t.Fatal(err)
		}
	}
	var times, tests, failures strings.Builder
	r.printFailures(&failures)
	if err := r.printTimes(&times); err != nil {
		t.Fatal(err)
	}
	if err := r.printTests(&tests); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]string{
		times.String():    "187 internal/hold TestVM sid-7.2",
		tests.String():    "2 2 80.0 s internal/hold TestVM/sid-7.2/TestGuestB",
		failures.String(): "FAILED: internal/hold TestVM/sid-7.2/TestGuestB",
	} {
		if !strings.Contains(strings.Join(strings.Fields(table), " "), want) {
			t.Errorf("%q is missing in:\n%s", want, table)
		}
	}
	if strings.Contains(failures.String(), "TestGuestA") {
		t.Errorf("a test that passed is among the failures:\n%s", &failures)
	}
	if b := strings.Index(tests.String(), "TestGuestB"); b > strings.Index(tests.String(), "TestGuestA") {
		t.Errorf("a test that failed comes after one that did not:\n%s", &tests)
	}
}

func TestReadRefusesWhatIsNoEvent(t *testing.T) {
	if err := newResults().read(strings.NewReader("ok  \tpkg\t0.1s\n"), new(strings.Builder)); err == nil {
		t.Error("text that is no JSON was read")
	}
}

func TestRun(t *testing.T) {
	var out strings.Builder
	ok, err := run(2, []string{"sh", "-c", "exit 1"}, &out)
	if ok || err != nil || !strings.Contains(out.String(), "FAILED") || !strings.Contains(out.String(), "beside a busy loop") {
		t.Errorf("got %t, %v and:\n%s", ok, err, &out)
	}
	if ok, err := run(1, []string{"true"}, &out); !ok || err != nil {
		t.Errorf("got %t, %v for a command that succeeds", ok, err)
	}
	if _, err := run(0, nil, &out); err == nil {
		t.Error("no error without a command")
	}
}
