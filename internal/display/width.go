// SPDX-License-Identifier: Apache-2.0

package display

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Width returns how many columns of a terminal a text takes: two for each wide letter, none for a mark on the letter before.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += columns(r)
	}
	return n
}

func columns(r rune) int {
	if r < 0x7f {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Cut returns a text that takes at most most columns. What does not fit is replaced by "…".
func Cut(s string, most int) string {
	if Width(s) <= most {
		return s
	}
	if most < 1 {
		return ""
	}
	left := most - 1
	for i, r := range s {
		if left -= columns(r); left < 0 {
			return strings.TrimRight(s[:i], " ") + "…"
		}
	}
	return s
}

// Fold breaks a text between words into lines of at most most columns. A word that is longer is cut.
func Fold(s string, most int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case Width(line)+1+Width(word) <= most:
			line += " " + word
		default:
			lines, line = append(lines, Cut(line, most)), word
		}
	}
	return append(lines, Cut(line, most))
}

// Pad returns a text with blanks before or behind it, so that it takes at least least columns.
func Pad(s string, least int, right bool) string {
	blanks := strings.Repeat(" ", max(0, least-Width(s)))
	if right {
		return blanks + s
	}
	return s + blanks
}
