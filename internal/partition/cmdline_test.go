// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"strings"
	"testing"
)

// TestLineWarnings: where new words would be taken for something else.
func TestLineWarnings(t *testing.T) {
	const quote, dashes = "a quote of the command line is not closed", `the command line has "--"`
	for line, want := range map[string][]string{
		"":                             nil,
		"quiet isolcpus=2-3 ---":       nil,
		`isolcpus="2-3" "nohz_full=2"`: nil,
		`dyndbg="file a.c +p" quiet`:   nil,
		`isolcpus="2-3 nohz_full=2-3`:  {quote},
		`quiet "isolcpus=2-3 nohz`:     {quote},
		"quiet -- single":              {dashes},
		"quiet --":                     {dashes},
		"a --\tb \n":                   {dashes},
		`a="b -- c"`:                   nil,
		`a="x -- nohz_full=2 "b`:       nil,
		`a=" -- b`:                     {quote},
		"x=\"\x1b[2J":                  {quote},
	} {
		got := lineWarnings(line)
		if len(got) != len(want) {
			t.Errorf("%q: %q, want %q", line, got, want)
			continue
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) || strings.ContainsAny(got[i], "\n\x1b") {
				t.Errorf("%q: %q, want %q", line, got[i], want[i])
			}
		}
	}
}

// TestTicksForever: the last word that the kernel understands counts.
func TestTicksForever(t *testing.T) {
	for line, want := range map[string]bool{
		"": false, "nohz=off": true, "nohz=0": true, "nohz=n": true, "nohz=false": true, "nohz=on": false, "nohz=1": false,
		"nohz=off nohz=on": false, "nohz=on nohz=off": true, "nohz=off nohz=x": true, "nohz_full=off": false, "nohz": false,
		`nohz="off"`: true, "highres=off": false, "-- nohz=off": false,
	} {
		if got := ticksForever(arguments(line)); got != want {
			t.Errorf("%q: %t, want %t", line, got, want)
		}
	}
}
