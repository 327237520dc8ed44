// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/report"
)

// A report whose place is gone in the end is printed, whatever was asked for.
func TestReportIsNotLostWithItsFile(t *testing.T) {
	for _, opts := range []options{{quiet: true}, {output: "report.txt"}, {quiet: true, events: "events"}, {}} {
		dir := filepath.Join(t.TempDir(), "gone")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		opts.report = filepath.Join(dir, "report.json")
		if opts.output != "" {
			opts.output = filepath.Join(dir, opts.output)
		}
		if opts.events != "" {
			opts.events = filepath.Join(dir, opts.events)
		}
		var stderr bytes.Buffer
		out, err := (&program{stdout: &bytes.Buffer{}, stderr: &stderr}).openOutput(&opts, &stderr, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		err = out.publish(&report.Report{Task: report.Task{Command: []string{"the-command"}}})
		if err == nil || !strings.Contains(err.Error(), opts.report) {
			t.Errorf("error %v, want one about %s", err, opts.report)
		}
		if !strings.Contains(stderr.String(), "the-command") {
			t.Errorf("printed %q, want the report", stderr.String())
		}
	}
}
