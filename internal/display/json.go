// SPDX-License-Identifier: Apache-2.0

// Package display shows results: spans and counts with their units, tables, colours,
// JSON, and files that appear whole or not at all.
package display

import (
	"encoding/json"
	"fmt"
	"io"
)

// JSON writes v for programs, indented, since people read it too.
func JSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false) // it goes into no page, and "->" would become unreadable
	return out.Encode(v)
}

// Report writes a report as its schema in docs describes it.
func Report(w io.Writer, r any) error {
	if err := JSON(w, r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
