// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"os"

	"github.com/taskiso/taskiso/internal/record"
)

// Redact writes the recording in a file, with pseudonyms, to another file.
func Redact(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("reading a recording: %w", err)
	}
	defer in.Close()
	out, err := record.Create(to)
	if err != nil {
		return err
	}
	defer out.Discard()
	if err := record.Redact(in, out); err != nil {
		return fmt.Errorf("redacting %s: %w", from, err)
	}
	return errors.Join(out.Sync(), out.Begin())
}
