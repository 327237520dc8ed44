// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// event is one line of go test -json: go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64 // seconds
}

// What vmtest prints of a guest and of each test in it. Their tests on the host only repeat results, and take no time.
var (
	guestTook = regexp.MustCompile(`, ended after ([0-9.]+) s`)
	testTook  = regexp.MustCompile(`: guest, ([0-9.]+) s`)
)

type testKey struct{ pkg, name string }

// outcome is what is known of a test, of all runs together.
type outcome struct {
	runs, failures int
	longest        float64 // seconds
}

type results struct {
	tests    map[testKey]*outcome
	guests   map[testKey]float64  // seconds, by test and row
	packages map[string]float64   // seconds
	output   map[testKey][]string // of tests that go on
}

func newResults() *results {
	return &results{
		tests: make(map[testKey]*outcome), guests: make(map[testKey]float64), packages: make(map[string]float64),
		output: make(map[testKey][]string),
	}
}

// read takes in the events of one run, and prints what go test prints without -v, and each guest as it ends: a run that is
// killed has shown by then how far it came.
func (r *results) read(events io.Reader, out io.Writer) error {
	clear(r.output)
	in := json.NewDecoder(events)
	for {
		var e event
		if err := in.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("parsing what go test -json printed: %w", err)
		}
		if e.Test == "" {
			r.ofPackage(e, out)
		} else {
			r.ofTest(e, out)
		}
	}
}

func (r *results) ofPackage(e event, out io.Writer) {
	switch e.Action {
	case "output", "build-output":
		if e.Output != "PASS\n" && !strings.HasPrefix(e.Output, "testing: warning: no tests to run") { // "ok" follows
			fmt.Fprint(out, e.Output)
		}
	case "pass", "fail":
		r.packages[short(e.Package)] += e.Elapsed
	}
}

func (r *results) ofTest(e event, out io.Writer) {
	key := testKey{short(e.Package), e.Test}
	switch e.Action {
	case "output":
		r.output[key] = append(r.output[key], e.Output)
		r.note(key, e.Output, out)
	case "pass", "fail", "skip":
		t := r.of(key)
		t.runs++
		t.longest = max(t.longest, e.Elapsed)
		if e.Action == "fail" {
			t.failures++
			fmt.Fprint(out, strings.Join(r.output[key], ""))
		}
		delete(r.output, key)
	}
}

func (r *results) of(key testKey) *outcome {
	if r.tests[key] == nil {
		r.tests[key] = &outcome{}
	}
	return r.tests[key]
}

// note takes the times from what a test prints.
func (r *results) note(key testKey, line string, out io.Writer) {
	if s := seconds(guestTook, line); s > 0 {
		fmt.Fprintf(out, "guest of %s %s ended after %.0f s\n", key.pkg, key.name, s)
		r.guests[key] += s
		r.of(key).longest = max(r.of(key).longest, s)
	}
	if s := seconds(testTook, line); s > 0 {
		r.of(key).longest = max(r.of(key).longest, s)
	}
}

func seconds(pattern *regexp.Regexp, line string) float64 {
	m := pattern.FindStringSubmatch(line)
	if m == nil {
		return 0
	}
	s, _ := strconv.ParseFloat(m[1], 64) // the pattern lets nothing else through that matters
	return s
}

// short leaves the module's name out.
func short(pkg string) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(pkg, "github.com/"), "/")
	if _, below, ok := strings.Cut(rest, "/"); ok {
		return below
	}
	return "."
}

// printFailures lists the tests that failed once more, at the end, where they are looked for.
func (r *results) printFailures(out io.Writer) {
	for _, key := range sorted(r.tests, func(k testKey) float64 { return float64(r.tests[k].failures) }) {
		if r.tests[key].failures > 0 {
			fmt.Fprintf(out, "FAILED: %s %s\n", key.pkg, key.name)
		}
	}
}

// printTimes prints how long each guest and each package took.
func (r *results) printTimes(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "seconds\t\t\n")
	var sum float64
	for _, key := range sorted(r.guests, func(k testKey) float64 { return r.guests[k] }) {
		fmt.Fprintf(t, "%.0f\t  %s %s\t\n", r.guests[key], key.pkg, path.Dir(key.name)+" "+path.Base(key.name))
		sum += r.guests[key]
	}
	fmt.Fprintf(t, "%.0f\t  all guests\t\n", sum)
	for _, pkg := range sorted(r.packages, func(p string) float64 { return r.packages[p] }) {
		if r.packages[pkg] >= 1 {
			fmt.Fprintf(t, "%.0f\t  %s, with waiting\t\n", r.packages[pkg], pkg)
		}
	}
	return t.Flush()
}

// shown is how many of the tests that never failed are printed.
const shown = 20

// printTests prints the tests that failed, and of the others those that took longest.
func (r *results) printTests(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "runs\tfailures\tlongest\ttest")
	rest := 0
	for _, key := range sorted(r.tests, func(k testKey) float64 { return float64(r.tests[k].failures)*1e6 + r.tests[k].longest }) {
		o := r.tests[key]
		if rest++; o.failures == 0 && rest > shown {
			continue
		}
		if o.failures > 0 {
			rest = 0
		}
		fmt.Fprintf(t, "%d\t%d\t%.1f s\t%s %s\n", o.runs, o.failures, o.longest, key.pkg, key.name)
	}
	if rest > shown {
		fmt.Fprintf(t, "\t\t\tand %d more that never failed\n", rest-shown)
	}
	return t.Flush()
}

// sorted returns the keys, the largest first.
func sorted[K comparable, V any](m map[K]V, size func(K) float64) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int {
		switch x, y := size(a), size(b); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return strings.Compare(fmt.Sprint(a), fmt.Sprint(b))
	})
	return keys
}
