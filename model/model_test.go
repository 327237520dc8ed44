// SPDX-License-Identifier: Apache-2.0

package model

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// The whole table takes minutes and is `make model`. Here: that the machinery
// tells the verdicts apart, on one run of each.
func TestEveryVerdictIsFound(t *testing.T) {
	if _, err := exec.LookPath("spin"); err != nil {
		t.Skip("spin is not installed; make model installs it")
	}
	source, err := filepath.Abs("spin")
	if err != nil {
		t.Fatal(err)
	}
	wanted := map[Verdict]bool{}
	for _, r := range All() {
		if wanted[r.Want] || r.Want == Holds && r.Name != "A-prime-hotplug" {
			continue
		}
		wanted[r.Want] = true
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			got, err := r.Do(t.Context(), source)
			if err != nil {
				t.Fatal(err)
			}
			if !got.OK() || got.States == 0 {
				t.Errorf("got %q with %d states, want %q", got.Got, got.States, r.Want)
			}
			if (len(got.Trace) == 0) != (r.Want == Holds) {
				t.Errorf("trace of %d steps", len(got.Trace))
			}
		})
	}
	if len(wanted) != 7 {
		t.Errorf("runs for %d of 7 verdicts", len(wanted))
	}
}

func TestRunsAreNamedAndExplained(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range All() {
		if seen[r.Name] || r.Name == "" || r.Why == "" || r.Want == "" {
			t.Errorf("run %q: name not unique, or why or want empty", r.Name)
		}
		seen[r.Name] = true
	}
	for _, r := range slices.Concat(Published, Dropped) {
		if r.Want == Holds || r.Constraint == "" {
			t.Errorf("run %s: must fail and name its constraint", r.Name)
		}
	}
}

// A search that was cut short, or ended unexpectedly, is no proof.
func TestIncompleteSearchIsAnError(t *testing.T) {
	for name, out := range map[string]string{
		"depth":   "error: max search depth too small\nState-vector 56 byte, depth reached 99, errors: 0\n 10 states, stored\n",
		"memory":  "pan: reached -DMEMLIM bound\npan: out of memory\nerrors: 0\n",
		"nothing": "",
		"unknown": "pan:1: something new (at depth 3)\nFull statespace search for:\nerrors: 1\n",
	} {
		var r Result
		if err := r.read(out); err == nil {
			t.Errorf("%s: verdict %q", name, r.Got)
		}
	}
}

func TestTraceIsRenderedInTwoColumns(t *testing.T) {
	steps := parseTrace("  @poster\t0\twrites the text\n      @cpu\t0\tenters\n @nmi\t0\tarrives\nspin: trail ends\n")
	var b bytes.Buffer
	r := Result{Run: Run{Name: "n", Why: "w", Constraint: "C1", Flags: []string{"-DX=1"}}, Got: Stale, Trace: steps, Elapsed: time.Second}
	if err := WriteTrace(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nwrites the text" + strings.Repeat(" ", column-15) + "|\n", "| enters\n", "|     NMI arrives\n", "=> " + string(Stale), "spin -DX=1 -a"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	WriteTable(&b, []Result{r})
	if !strings.Contains(b.String(), "WRONG") {
		t.Errorf("a result that was not wanted is not marked:\n%s", b.String())
	}
}
