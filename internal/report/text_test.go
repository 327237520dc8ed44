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
		for _, style := range []string{bold, red, green, yellow, plain} {
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

func TestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ns", 999: "999 ns", 1000: "1.00 µs", 12345: "12.3 µs", 123456: "123 µs", -1500: "-1.50 µs",
		time.Millisecond: "1.00 ms", 61 * time.Second: "61.0 s", 3 * time.Hour: "10800 s",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%d): got %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Microsecond: "1 µs", 10 * time.Millisecond: "10 ms", 100 * time.Second: "100 s"} {
		if got := roundSpan(d); got != want {
			t.Errorf("roundSpan(%d): got %q, want %q", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d): got %q, want %q", n, got, want)
		}
	}
}
