// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// guestTest is one test or subtest that ran in a guest.
type guestTest struct {
	name    string // last element
	action  string // pass, fail or skip; empty if the guest ended while the test ran
	seconds float64
	output  strings.Builder
	subs    []*guestTest
}

// report is what a test binary said.
type report struct {
	tests  []*guestTest
	output strings.Builder // outside of tests
}

// event is one line of go tool test2json, see its documentation.
type event struct {
	Action  string
	Test    string
	Output  string
	Elapsed float64
}

// decodeOutput turns the output of a test binary run with -test.v=test2json into results.
func decodeOutput(ctx context.Context, output []byte) (*report, error) {
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json", "-t") // without -t no test has an elapsed time
	cmd.Stdin = bytes.NewReader(output)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	events, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("running %s: %w: %s", cmd, err, stderr.Bytes())
	}
	return decodeEvents(events)
}

func decodeEvents(events []byte) (*report, error) {
	r := &report{}
	byName := map[string]*guestTest{}
	in := json.NewDecoder(bytes.NewReader(events))
	for {
		var e event
		if err := in.Decode(&e); errors.Is(err, io.EOF) {
			return r, nil
		} else if err != nil {
			return nil, fmt.Errorf("parsing test events: %w", err)
		}
		if e.Test == "" {
			r.output.WriteString(e.Output)
			continue
		}
		r.find(byName, e.Test).add(e)
	}
}

// find returns the test of that name, which it adds to its parent if it is new.
func (r *report) find(byName map[string]*guestTest, name string) *guestTest {
	if t, ok := byName[name]; ok {
		return t
	}
	siblings, base := &r.tests, name
	if slash := strings.LastIndexByte(name, '/'); slash >= 0 {
		siblings, base = &r.find(byName, name[:slash]).subs, name[slash+1:]
	}
	t := &guestTest{name: base}
	byName[name] = t
	*siblings = append(*siblings, t)
	return t
}

func (t *guestTest) add(e event) {
	switch e.Action {
	case "pass", "fail", "skip":
		t.action, t.seconds = e.Action, e.Elapsed
	case "output":
		if !isMarker(e.Output) {
			t.output.WriteString(e.Output)
		}
	}
}

// isMarker is true for lines with which the testing package frames a test: the host's own say the same. A test may
// write lines that only begin like them, a diff for example.
func isMarker(line string) bool {
	line = strings.TrimLeft(line, " ")
	for _, marker := range []string{
		"=== RUN ", "=== PAUSE ", "=== CONT ", "=== NAME ", "--- PASS: ", "--- FAIL: ", "--- SKIP: ", "--- BENCH: ",
	} {
		if strings.HasPrefix(line, marker) {
			return true
		}
	}
	return false
}

// failed is true if some test failed or never ended.
func (r *report) failed() bool {
	for _, t := range r.tests {
		if t.action != "pass" && t.action != "skip" {
			return true
		}
	}
	return false
}

// replay makes the guest's test a test of the host.
func (t *guestTest) replay(host *testing.T) {
	host.Helper()
	for _, sub := range t.subs {
		host.Run(sub.name, sub.replay)
	}
	host.Logf("guest, %.2f s:\n%s", t.seconds, strings.TrimRight(t.output.String(), "\n"))
	switch t.action {
	case "pass":
	case "skip":
		skip(host, "the guest skipped this test, see its output")
	case "fail":
		host.Fail()
	default:
		host.Error("the guest ended while this test ran")
	}
}
