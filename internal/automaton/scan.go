// SPDX-License-Identifier: Apache-2.0

package automaton

import (
	"fmt"
	"strings"
)

// maxText is far more than an automaton with MaxStates states needs.
const maxText = 1 << 20

type token struct {
	text   string
	quoted bool
}

// mark reports whether the token is punctuation.
func (t token) mark() bool {
	return !t.quoted && t.text != "" && (strings.Contains("{}[];,=", t.text) || t.text == "->")
}

// scan splits a .dot text. Escapes in strings are kept as they are: \n
// separates events.
func scan(text string) ([]token, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("%w: text of %d bytes is longer than %d", ErrSyntax, len(text), maxText)
	}
	var tokens []token
	for {
		text = skipBlanks(text)
		if text == "" {
			return tokens, nil
		}
		n, err := length(text)
		if err != nil {
			return nil, err
		}
		t := token{text: text[:n]}
		if text[0] == '"' {
			t = token{text: text[1 : n-1], quoted: true}
		}
		tokens = append(tokens, t)
		text = text[n:]
	}
}

func skipBlanks(text string) string {
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		end := ""
		switch {
		case strings.HasPrefix(text, "//"), strings.HasPrefix(text, "#"):
			end = "\n"
		case strings.HasPrefix(text, "/*"):
			end = "*/"
		default:
			return text
		}
		_, text, _ = strings.Cut(text, end)
	}
}

// length returns how long the first token of text is.
func length(text string) (int, error) {
	switch c := text[0]; {
	case c == '"':
		for i := 1; i < len(text); i++ {
			switch text[i] {
			case '\\':
				i++
			case '"':
				return i + 1, nil
			}
		}
		return 0, fmt.Errorf("%w: string without end", ErrSyntax)
	case strings.HasPrefix(text, "->"):
		return 2, nil
	case strings.IndexByte("{}[];,=", c) >= 0:
		return 1, nil
	case word(c):
		n := 1
		for n < len(text) && word(text[n]) {
			n++
		}
		return n, nil
	default:
		return 0, fmt.Errorf("%w: character %q", ErrSyntax, c)
	}
}

func word(c byte) bool {
	return c == '_' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
