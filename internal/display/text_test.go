// SPDX-License-Identifier: Apache-2.0

package display

import (
	"strings"
	"testing"
)

// Columns of numbers are recognised by their cells, or are the first ones that the caller says.
func TestTable(t *testing.T) {
	rows := [][]string{{"n", "what"}, {"≥ 7", "a"}, {"", "bc"}, {"1,234", "d"}}
	var b strings.Builder
	if err := WriteTable(&b, rows); err != nil {
		t.Fatal(err)
	}
	if want := "      n  what\n    ≥ 7  a\n         bc\n  1,234  d\n"; b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	var text Text
	text.TableOf(1, [][]string{{"x", "y"}, {"-", "12"}, {"long", "3"}})
	if want := "     x  y\n     -  12\n  long  3\n"; text.String() != want {
		t.Errorf("got\n%swant\n%s", text.String(), want)
	}
	text.TableOf(1, nil) // nothing to line up
}

func TestBar(t *testing.T) {
	for count, want := range map[uint64]int{1: 1, 500: 20, 1000: barWidth} {
		if got := strings.Count(Bar(count, 1000), "▇"); got != want {
			t.Errorf("the bar of %d of 1000 is %d wide, want %d", count, got, want)
		}
	}
}
