// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/display"
)

var update = flag.Bool("update", false, "write the golden files anew")

// samples are reports of every shape, which the tests of package collect write.
func samples(t *testing.T) map[string]*Report {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no samples: %v", err)
	}
	all := make(map[string]*Report)
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".json")
		all[name] = readSample(t, name)
	}
	return all
}

func readSample(t *testing.T, name string) *Report {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Read(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestText(t *testing.T) {
	for name, r := range samples(t) {
		t.Run(name, func(t *testing.T) { compareText(t, name, r, false) })
	}
	t.Run("colour", func(t *testing.T) {
		r := readSample(t, "busy")
		r.Monitors[0].Verdict, r.Monitors[0].Reasons = MonitorSatisfied, nil // a colour of its own
		compareText(t, "colour", r, true)
	})
}

func compareText(t *testing.T, name string, r *Report, colour bool) {
	t.Helper()
	var b bytes.Buffer
	if err := WriteText(&b, r, colour); err != nil {
		t.Fatal(err)
	}
	compareGolden(t, name+".golden", b.Bytes())
	if !colour && bytes.ContainsRune(b.Bytes(), '\x1b') {
		t.Error("escape sequences without colour")
	}
	for line := range strings.SplitSeq(b.String(), "\n") {
		if strings.TrimRight(line, " ") != line {
			t.Errorf("blanks at the end of %q", line)
		}
	}
}

func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs (-update writes it anew); got\n%s", path, got)
	}
}

// Colours add to the text and change nothing in it.
func TestColourOnlyAdds(t *testing.T) {
	for name, r := range samples(t) {
		var plainText, coloured bytes.Buffer
		if err := errors.Join(WriteText(&plainText, r, false), WriteText(&coloured, r, true)); err != nil {
			t.Fatal(err)
		}
		text := coloured.String()
		for _, style := range []string{display.Bold, display.Red, display.Green, display.Yellow, display.Plain} {
			text = strings.ReplaceAll(text, style, "")
		}
		if text != plainText.String() {
			t.Errorf("%s: with colour\n%s", name, text)
		}
	}
}

func TestBreakLine(t *testing.T) {
	text, err := os.ReadFile("testdata/breaks.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var lines strings.Builder
	for line := range bytes.Lines(text) {
		var b Break
		if err := json.Unmarshal(line, &b); err != nil {
			t.Fatal(err)
		}
		lines.WriteString(BreakLine(b) + "\n")
	}
	compareGolden(t, "break-lines.golden", []byte(lines.String()))
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrors(t *testing.T) {
	r := readSample(t, "quiet")
	if err := WriteText(brokenWriter{}, r, false); !errors.Is(err, errBroken) {
		t.Errorf("text: error %v", err)
	}
	if err := display.Report(brokenWriter{}, r); !errors.Is(err, errBroken) {
		t.Errorf("JSON: error %v", err)
	}
}

// Where one break is described, its origin has no count: it is one by nature.
func TestOriginWithoutCount(t *testing.T) {
	o := Origin{Did: DidWake, PID: 7, Name: "cron", CPU: 1, Count: 1234}
	const want = "task woken by cron (process 7) on CPU 1"
	if got := o.Description(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := o.String(); got != "1,234× "+want {
		t.Errorf("with a count: got %q", got)
	}
}

// What anybody can have written cannot command a terminal.
func TestWriteForeign(t *testing.T) {
	r := readSample(t, "busy")
	var own, foreign bytes.Buffer
	if err := errors.Join(WriteText(&own, r, false), WriteForeign(&foreign, r)); err != nil || own.String() != foreign.String() {
		t.Errorf("%v, it differs from the text of one's own:\n%s", err, &foreign)
	}
	r.CPUs[0].Causes[0].Detail = "\x1b[2J"
	foreign.Reset()
	if err := WriteForeign(&foreign, r); err != nil || strings.Contains(foreign.String(), "\x1b") || !strings.Contains(foreign.String(), `\x1b[2J`) {
		t.Errorf("%v, %s", err, &foreign)
	}
	if err := WriteForeign(brokenWriter{}, r); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}
