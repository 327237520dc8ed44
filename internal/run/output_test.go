// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/report"
)

// A report whose place is gone in the end is printed, whatever was asked for.
func TestReportIsNotLostWithItsFile(t *testing.T) {
	for _, cfg := range []OutputConfig{{Quiet: true}, {Text: "report.txt"}, {Quiet: true, Events: "events"}, {}} {
		dir := filepath.Join(t.TempDir(), "gone")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		cfg.Report = filepath.Join(dir, "report.json")
		if cfg.Text != "" {
			cfg.Text = filepath.Join(dir, cfg.Text)
		}
		if cfg.Events != "" {
			cfg.Events = filepath.Join(dir, cfg.Events)
		}
		var stderr bytes.Buffer
		out, err := OpenOutput(output.Console{Stdout: &bytes.Buffer{}, Stderr: &stderr}, cfg, &stderr, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		err = out.publish(&report.Report{Task: report.Task{Command: []string{"the-command"}}}, nil)
		if err == nil || !strings.Contains(err.Error(), cfg.Report) {
			t.Errorf("error %v, want one about %s", err, cfg.Report)
		}
		if !strings.Contains(stderr.String(), "the-command") {
			t.Errorf("printed %q, want the report", stderr.String())
		}
	}
}
