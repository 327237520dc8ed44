// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/display"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestText(t *testing.T) {
	for name, r := range samples(t) {
		t.Run(name, func(t *testing.T) { compareText(t, name, r, false) })
	}
	t.Run("colour", func(t *testing.T) { compareText(t, "colour", busySample(t), true) })
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
	var lines strings.Builder
	c := newSample(t)
	c.OnBreak = func(b Break) { lines.WriteString(BreakLine(b) + "\n") }
	c.Stay(tickAt(time.Second, 1500))
	c.Stay(patchedBy(2*time.Second, busySender()))
	away := preemptedBy(3*time.Second, time.Millisecond, "cron")
	away.Exact, away.Lossy = false, true
	c.Stay(away)
	kernelOnly := tickAt(4*time.Second, 1500)
	kernelOnly.UserIP = 0
	c.Stay(kernelOnly)
	compareGolden(t, "break-lines.golden", []byte(lines.String()))
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteErrors(t *testing.T) {
	r := quietSample(t)
	if err := WriteText(brokenWriter{}, r, false); !errors.Is(err, errBroken) {
		t.Errorf("text: error %v", err)
	}
	if err := WriteJSON(brokenWriter{}, r); !errors.Is(err, errBroken) {
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
