// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// A line of progress is never wider than the terminal, and says how to end where there is room for it.
func TestProgressFitsTheTerminal(t *testing.T) {
	for width, want := range map[int]string{
		200: "1.5 s of 8 s: 12 breaks, 0 events lost (Ctrl-C ends it and prints the report)",
		78:  "1.5 s of 8 s: 12 breaks, 0 events lost (Ctrl-C ends it and prints the report)",
		77:  "1.5 s of 8 s: 12 breaks, 0 events lost (Ctrl-C: report)",
		56:  "1.5 s of 8 s: 12 breaks, 0 events lost (Ctrl-C: report)",
		55:  "1.5 s of 8 s: 12 breaks, 0 events lost",
		30:  "1.5 s of 8 s: 12 breaks, 0 ev",
		1:   "",
	} {
		var b bytes.Buffer
		p := Progress{w: &b, width: func() int { return width }, total: 8 * time.Second}
		p.Print(1500*time.Millisecond, "12 breaks, 0 events lost")
		if got := strings.TrimPrefix(b.String(), "\r\x1b[K"); got != want {
			t.Errorf("width %d: %q, want %q", width, got, want)
		}
	}
}

func TestLocale(t *testing.T) {
	for env, want := range map[string]bool{
		"": false, "LANG=C": true, "LANG=C.UTF-8": false, "LANG=de_DE.utf8": false, "LANG=en_US.ISO-8859-1": true,
		"LANG=C.UTF-8 LC_ALL=C": true, "LANG=C LC_CTYPE=C.UTF-8": false, "LC_ALL=POSIX": true,
	} {
		got := IsASCII(func(name string) string {
			for _, v := range strings.Fields(env) {
				if value, ok := strings.CutPrefix(v, name+"="); ok {
					return value
				}
			}
			return ""
		})
		if got != want {
			t.Errorf("%q: ASCII only: %v", env, got)
		}
	}
}

// What stands in for a sign is as wide as that, also before a number.
func TestASCIIKeepsTablesLinedUp(t *testing.T) {
	const text = "3×  ≥ 1.20 µs  ▇▇▇  a → b  ✓ ✗ …"
	var b bytes.Buffer
	if n, err := fmt.Fprint(asciiWriter{&b}, text); err != nil || n != len(text) {
		t.Fatal(n, err)
	}
	if want := "3x  >=1.20 us  ###  a > b  + - ~"; b.String() != want || b.Len() != utf8.RuneCountInString(text) {
		t.Errorf("got %q, want %q", &b, want)
	}
}

// What the user has set goes before what the terminal has; nonsense does not.
func TestColumns(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for set, want := range map[string]int{"": 80, "120": 120, "0": 80, "-3": 80, "wide": 80} {
		if got := Columns(file, func(string) string { return set }); got != want {
			t.Errorf("COLUMNS=%q: %d columns, want %d", set, got, want)
		}
	}
}
