// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/output"
)

// A recording of a hold gives the lines, and the JSON, that the hold printed, and at its end what it could not do.
func TestRecordingOfAHold(t *testing.T) {
	name := t.TempDir() + "/hold.rec"
	tape, err := recordHolds(name, "test")
	if err != nil {
		t.Fatal(err)
	}
	var lines, objects bytes.Buffer
	for i := range 3 {
		r := operation.Record{ID: uint64(i), Time: time.Now(), Command: "modprobe\x1b[1m", Operation: "module", Detail: "x", Outcome: operation.Held, Held: time.Second}
		tape.add(r)
		if err := printHold(&lines, false)(r); err != nil {
			t.Fatal(err)
		}
		if err := printHold(&objects, true)(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := tape.close([]string{"something was missed"}); err != nil {
		t.Fatal(err)
	}
	for asJSON, want := range map[bool]string{false: lines.String(), true: objects.String()} {
		if got, said := publishedHolds(t, name, asJSON); got != want || said != "taskiso: something was missed\n" {
			t.Errorf("it prints\n%s%s\nwant\n%s", got, said, want)
		}
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	if got, said := publishedHolds(t, name, false); got != lines.String() || !strings.Contains(said, "no end") {
		t.Errorf("without an end it prints\n%s%s", got, said)
	}
}

// publishedHolds is what is printed of a recording of a hold.
func publishedHolds(t *testing.T, name string, asJSON bool) (stdout, stderr string) {
	t.Helper()
	saved, err := OpenSaved(name)
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	var out, complaints bytes.Buffer
	console := output.Console{Stdout: &out, Stderr: &complaints}
	if err := saved.Publish(console, OutputConfig{JSON: asJSON}, &out, os.Stdout); err != nil {
		t.Fatal(err)
	}
	return out.String(), complaints.String()
}
