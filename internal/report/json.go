// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"

	"github.com/taskiso/taskiso/internal/display"
)

// WriteJSON writes r as docs/report.schema.json describes it.
func WriteJSON(w io.Writer, r *Report) error {
	if err := display.JSON(w, r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
