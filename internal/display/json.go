// SPDX-License-Identifier: Apache-2.0

// Package display shows results: spans and counts with their units, tables, colours,
// JSON, and files that appear whole or not at all.
package display

import (
	"encoding/json"
	"io"
)

// JSON writes v for programs, indented, since people read it too.
func JSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false) // it goes into no page, and "->" would become unreadable
	return out.Encode(v)
}
