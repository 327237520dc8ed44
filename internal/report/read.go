// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

var (
	// ErrNotReport means that a file is something else than a report.
	ErrNotReport = errors.New("this is no report of taskiso; \"taskiso run --report FILE\" writes one")
	// ErrTruncated means that a report ends too early.
	ErrTruncated = errors.New("the report is cut off")
	// ErrNewer means that a report is of a later form than this program knows.
	ErrNewer = errors.New("the report is from a newer taskiso")
)

// Read reads a report that [WriteJSON] wrote. Its errors match [ErrNotReport],
// [ErrTruncated] or [ErrNewer], or are those of the reader.
func Read(in io.Reader) (*Report, error) {
	text, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	if err := identify(text); err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotReport, err)
	}
	return &r, nil
}

// identify looks only at what every report has, to say clearly what it is not.
func identify(text []byte) error {
	var head struct {
		Schema  *int    `json:"schema"`
		Version *string `json:"taskiso"`
		CPUs    *[]any  `json:"cpus"`
	}
	in := json.NewDecoder(bytes.NewReader(text))
	switch err := in.Decode(&head); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w after %d bytes", ErrTruncated, len(text))
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is empty", ErrTruncated)
	case err != nil:
		return fmt.Errorf("%w (%w)", ErrNotReport, err)
	case head.Schema == nil || head.Version == nil || head.CPUs == nil || *head.Schema < 1:
		return ErrNotReport
	case *head.Schema > Schema:
		return fmt.Errorf("%w %s: its form is number %d, and this program knows %d", ErrNewer, *head.Version, *head.Schema, Schema)
	}
	return nil
}
