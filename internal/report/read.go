// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/taskiso/taskiso/internal/hold/operation"
)

var (
	// ErrNotReport means that a file is something else than a report.
	ErrNotReport = errors.New("not a report of taskiso; \"taskiso run --report FILE\" writes one")
	// ErrNoise means that it is a report of taskiso noise, which has a form of its own.
	ErrNoise = errors.New("a report of taskiso noise")
	// ErrTruncated means that a report ends too early.
	ErrTruncated = errors.New("the report is cut off")
	// ErrNewer means that a report is of a later form than this program knows.
	ErrNewer = errors.New("the report is from a newer taskiso")
)

// Read reads a report that [display.Report] wrote. Its errors match [ErrNotReport], [ErrNoise],
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
		return nil, notReport(err)
	}
	r.modernise()
	return &r, nil
}

// Reader is [Read], or what reads other files as well.
type Reader func(in io.Reader) (*Report, error)

// ReadFiles reads the reports in files. Its errors are those of read, with the name of the file.
func ReadFiles(names []string, read Reader) ([]*Report, error) {
	var reports []*Report
	for _, name := range names {
		r, err := readFile(name, read)
		if err != nil {
			return nil, err
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func readFile(name string, read Reader) (*Report, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading a report: %w", err)
	}
	defer f.Close()
	r, err := read(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return r, nil
}

// modernise writes what older forms have in today's words: until schema 2 a CPU was "broken" and a monitor "held".
// The outcome of an operation was in words until hold had codes, and its reason, which is shown as it is.
func (r *Report) modernise() {
	for i := range r.Holds {
		if r.Holds[i].Outcome == "not held" {
			r.Holds[i].Outcome = operation.NotHeld
		}
	}
	if r.Schema >= 2 {
		return
	}
	for i := range r.CPUs {
		if r.CPUs[i].Verdict == "broken" {
			r.CPUs[i].Verdict = VerdictDisturbed
		}
	}
	for i := range r.Monitors {
		if r.Monitors[i].Verdict == "held" {
			r.Monitors[i].Verdict = MonitorSatisfied
		}
	}
}

// identify looks only at what every report has, to name clearly what it is not.
func identify(text []byte) error {
	var head struct {
		Schema  *int            `json:"schema"`
		Version *string         `json:"taskiso"`
		CPUs    *[]any          `json:"cpus"`
		Loop    json.RawMessage `json:"loop"` // that of noise is an object
	}
	in := json.NewDecoder(bytes.NewReader(text))
	switch err := in.Decode(&head); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w after %d bytes", ErrTruncated, len(text))
	case errors.Is(err, io.EOF):
		return fmt.Errorf("%w: it is empty", ErrTruncated)
	case err != nil:
		return notReport(err)
	case head.Schema == nil || head.Version == nil || head.CPUs == nil || *head.Schema < 1:
		return ErrNotReport
	case bytes.HasPrefix(head.Loop, []byte("{")):
		return ErrNoise
	case *head.Schema > Schema:
		return fmt.Errorf("%w %s: its form is number %d, and this program knows %d", ErrNewer, *head.Version, *head.Schema, Schema)
	}
	return nil
}

// notReport names which field is wrong, if the text is JSON at all.
func notReport(err error) error {
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && wrong.Field != "" {
		return fmt.Errorf("%w (its field %s has a value of another kind)", ErrNotReport, wrong.Field)
	}
	return ErrNotReport
}
