// SPDX-License-Identifier: Apache-2.0

// Package display shows results: spans and counts with their units, tables, colours,
// JSON, and files that appear whole or not at all.
package display

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// JSON writes v for programs, indented, since people read it too.
func JSON(w io.Writer, v any) error {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false) // it goes into no page, and "->" would become unreadable
	if err := out.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(unseenEscaped(text.Bytes()))
	return err
}

// unseenEscaped escapes what package json leaves as it is, and a terminal may take for a command or a change of direction.
// Outside of strings JSON has none of it.
func unseenEscaped(text []byte) []byte {
	unseen := func(r rune) bool { return r >= 0x7f && !unicode.IsPrint(r) }
	if bytes.IndexFunc(text, unseen) < 0 {
		return text
	}
	var b []byte
	for _, r := range string(text) {
		if !unseen(r) {
			b = utf8.AppendRune(b, r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			b = fmt.Appendf(b, `\u%04x`, unit)
		}
	}
	return b
}

// Report writes a report as its schema in docs describes it.
func Report(w io.Writer, r any) error {
	if err := JSON(w, r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
