// SPDX-License-Identifier: Apache-2.0

package display

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/taskiso/taskiso/internal/printable"
)

// Styles of [Text.Paint], and what ends them.
const (
	Bold   = "\x1b[1m"
	Red    = "\x1b[31m"
	Green  = "\x1b[32m"
	Yellow = "\x1b[33m"
	Plain  = "\x1b[0m"
)

// Text is a text for people in the making.
type Text struct {
	bytes.Buffer
	Colour bool // for terminals
}

// Printf appends to the text.
func (t *Text) Printf(format string, args ...any) { fmt.Fprintf(&t.Buffer, format, args...) }

// Paint returns s in a style, which may be several joined.
func (t *Text) Paint(style, s string) string {
	if !t.Colour {
		return s
	}
	return style + s + Plain
}

// Table lines up rows, indented by two. A column whose cells below the heading
// all begin with a digit, or are empty, is one of numbers and aligned right.
func (t *Text) Table(rows [][]string) { t.lineUp(rows, numeric(rows)) }

// TableOf is Table where the caller knows that the first columns are those of numbers.
func (t *Text) TableOf(numbers int, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	right := make([]bool, len(rows[0]))
	for i := range min(numbers, len(right)) {
		right[i] = true
	}
	t.lineUp(rows, right)
}

func (t *Text) lineUp(rows [][]string, right []bool) {
	widths := widthsOf(rows)
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if right[i] {
				line.WriteString("  " + pad + cell)
			} else {
				line.WriteString("  " + cell + pad)
			}
		}
		t.Printf("%s\n", strings.TrimRight(line.String(), " "))
	}
}

// WriteTable writes rows lined up as [Text.Table] does, with what others may have chosen in them escaped.
func WriteTable(w io.Writer, rows [][]string) error {
	var t Text
	shown := make([][]string, len(rows))
	for i, row := range rows {
		for _, cell := range row {
			shown[i] = append(shown[i], printable.Text(cell))
		}
	}
	t.Table(shown)
	_, err := w.Write(t.Bytes())
	return err
}

func widthsOf(rows [][]string) (widths []int) {
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

// numeric finds the columns of numbers.
func numeric(rows [][]string) (numbers []bool) {
	for n, row := range rows {
		for i, cell := range row {
			if i == len(numbers) {
				numbers = append(numbers, true)
			}
			heading := n == 0 && len(rows) > 1
			numbers[i] = numbers[i] && (heading || isNumber(cell))
		}
	}
	return numbers
}

// isNumber reports whether a cell is empty or a number with at most a unit.
func isNumber(cell string) bool {
	cell = strings.TrimPrefix(cell, "≥ ")
	return cell == "" || strings.ContainsAny(cell[:1], "0123456789-") && strings.Count(cell, " ") < 2
}

// barWidth is that of the longest bar of a histogram.
const barWidth = 40

// Bar returns the bar of a count in a histogram, whose largest count is most.
func Bar(count, most uint64) string {
	return strings.Repeat("▇", max(1, int(barWidth*count/most)))
}
