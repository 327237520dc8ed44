// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/printable"
)

// hostileText is what somebody may put into a name: commands for the terminal of whoever looks at it, and a line that looks
// like one of taskiso's.
const hostileText = "\x1b[2J\u009b31m\x7f\u202e\nCPU 3: forged"

// A saved report may be anybody's. Each of its texts in turn is hostile, and reaches the terminal escaped.
func TestReportsAreShownEscaped(t *testing.T) {
	source, err := filepath.Glob("../report/testdata/*.json")
	if err != nil || len(source) == 0 {
		t.Fatal(err, source)
	}
	dir := t.TempDir()
	file, other, limits := filepath.Join(dir, "report.json"), filepath.Join(dir, "other.json"), filepath.Join(dir, "budget.toml")
	if err := os.WriteFile(limits, []byte("[[rule]]\ncause = \"*\"\nper_second = 0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tried := make(map[string]bool) // by path without indices: one of a list stands for all
	for _, name := range source {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var report any
		if err := json.Unmarshal(text, &report); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(other, text, 0o644); err != nil {
			t.Fatal(err)
		}
		eachText("", report, func(path string, change func(string)) {
			if tried[path] {
				return
			}
			tried[path] = true
			change(hostileText)
			poisoned, err := json.Marshal(report)
			if err == nil {
				err = os.WriteFile(file, poisoned, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, args := range [][]string{{"report"}, {"report", "--full"}, {"report", "--json"}, {"explain"}, {"explain", "--json"}, {"diff", other}, {"diff", "--all", "--markdown", other}, {"budget", "check", "--accept-lower-bound", limits}, {"budget", "init"}} {
				_, out, errs := partitionProgram(t, append(args, file)...)
				for line := range strings.Lines(out + errs) {
					line = strings.TrimSuffix(line, "\n")
					if line != printable.Text(line) || strings.HasPrefix(line, "CPU 3: forged") {
						t.Errorf("%s, %q: %q", filepath.Base(name), args, line)
					}
				}
			}
		})
	}
	if len(tried) < 50 {
		t.Errorf("only %d texts were tried", len(tried))
	}
}

// eachText calls do for each text in v with its path, and with a function that replaces it until do returns.
func eachText(path string, v any, do func(path string, change func(string))) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if text, is := value.(string); is {
				do(path+"."+key, func(other string) { v[key] = other })
				v[key] = text
			}
			eachText(path+"."+key, value, do)
		}
	case []any:
		for i, value := range v {
			if text, is := value.(string); is {
				do(path+"[]", func(other string) { v[i] = other })
				v[i] = text
			}
			eachText(path+"[]", value, do)
		}
	}
}
