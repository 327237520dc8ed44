// SPDX-License-Identifier: Apache-2.0

// Package output is where a command prints: on terminals, in signs that they have, and to files.
package output

import (
	"cmp"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/term"
)

// IsTerminal reports whether f is a terminal on which lines can be written over.
func IsTerminal(f *os.File) bool {
	return os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// WantsColour reports whether f is a terminal whose user wants colours (https://no-color.org).
func WantsColour(f *os.File) bool { return os.Getenv("NO_COLOR") == "" && IsTerminal(f) }

// Width returns how many letters a line of f has: that of a terminal, which can change at any time, or what is usual.
func Width(f *os.File) int {
	const usual = 80
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return usual
	}
	return width
}

// Columns returns how many letters a line of what is printed on f may have: what the user has set, or else those of f.
func Columns(f *os.File, getenv func(string) string) int {
	if width, err := strconv.Atoi(getenv("COLUMNS")); err == nil && width > 0 {
		return width
	}
	return Width(f)
}

// IsASCII reports whether the locale allows only ASCII. Without a locale it is not known, and the answer is no.
func IsASCII(getenv func(string) string) bool {
	locale := strings.ToUpper(cmp.Or(getenv("LC_ALL"), getenv("LC_CTYPE"), getenv("LANG")))
	return locale != "" && !strings.Contains(locale, "UTF-8") && !strings.Contains(locale, "UTF8")
}

// asciiWriter writes the signs of a text as others that are as wide, so that tables stay lined up.
type asciiWriter struct{ w io.Writer }

var toASCII = strings.NewReplacer("µ", "u", "≥ ", ">=", "≥", ">=", "→", ">", "×", "x", "▇", "#", "…", "~", "✓", "+", "✗", "-", "–", "-", "—", "-")

func (a asciiWriter) Write(p []byte) (int, error) {
	if _, err := toASCII.WriteString(a.w, string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Console is where a process prints.
type Console struct {
	Stdout, Stderr io.Writer
	ASCII          bool // the locale has no other signs
}

// Text returns w for text that people read, in signs that their terminal has.
func (c Console) Text(w io.Writer) io.Writer {
	if c.ASCII {
		return asciiWriter{w}
	}
	return w
}
