// SPDX-License-Identifier: Apache-2.0

// Package printable makes what others have chosen fit to be shown: names of tasks,
// files and functions can hold any byte, and so commands for the terminal of
// whoever reads them, or the line of a report that they would like to see there.
package printable

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns s with everything escaped as in Go that is not a letter, mark,
// number, punctuation, symbol or space: control characters, invalid UTF-8, and
// what changes the direction of writing.
func Text(s string) string {
	if isPrintable(s) {
		return s
	}
	var b strings.Builder
	for i, width := 0, 0; i < len(s); i += width {
		var r rune
		r, width = utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && width == 1:
			b.WriteString(`\x` + strconv.FormatUint(uint64(s[i])|1<<8, 16)[1:])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// Line returns one line of a text for people: also a line break that others have chosen is escaped.
func Line(format string, args ...any) string { return Text(fmt.Sprintf(format, args...)) + "\n" }

// Row returns one line of a table, with tabs between its cells as package text/tabwriter wants them.
func Row(cells ...string) string {
	shown := make([]string, len(cells))
	for i, cell := range cells {
		shown[i] = Text(cell)
	}
	return strings.Join(shown, "\t") + "\n"
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// Word returns what a user gave, so that an empty word, blanks and line breaks can be seen.
func Word(text string) string {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == '"' }) {
		return strconv.Quote(text)
	}
	return text
}
