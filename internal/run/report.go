// SPDX-License-Identifier: Apache-2.0

package run

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// Saved is a report or a recording in a file.
type Saved struct {
	Recording *record.Reader // nil if it is a report
	name      string
	file      *os.File
	text      *bufio.Reader // of a report
}

// OpenSaved opens a saved report or a recording.
func OpenSaved(name string) (*Saved, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("reading a report: %w", err)
	}
	s := &Saved{name: name, file: f, text: bufio.NewReader(f)}
	if s.Recording, err = recordingIn(s.text); err != nil {
		f.Close()
		return nil, s.Error(err)
	}
	return s, nil
}

// Close closes the file.
func (s *Saved) Close() error { return s.file.Close() }

// Error returns an error with the name of the file.
func (s *Saved) Error(err error) error { return fmt.Errorf("reading %s: %w", s.name, err) }

// Publish publishes the report as the observation itself did. Its text goes to out, which is stream.
func (s *Saved) Publish(console output.Console, cfg OutputConfig, out io.Writer, stream *os.File) error {
	if s.Recording != nil && s.Recording.Header.Hold {
		if err := publishHolds(s.Recording, console, cfg, out, stream); err != nil {
			return s.Error(err)
		}
		return nil
	}
	o, err := OpenOutput(console, cfg, out, stream)
	if err != nil {
		return err
	}
	defer o.Discard()
	o.foreign = true
	r, err := s.read(o.onBreak())
	if err != nil {
		return s.Error(err)
	}
	return o.publish(r, nil)
}

// ErrHold means that a recording has no report.
var ErrHold = errors.New("a recording of a hold has no report, only the operations that \"taskiso report\" prints")

func (s *Saved) read(onBreak func(report.Break)) (*report.Report, error) {
	switch {
	case s.Recording != nil && s.Recording.Header.Hold:
		return nil, ErrHold
	case s.Recording != nil:
		return observe.Replay(s.Recording, onBreak)
	case onBreak != nil:
		return nil, ErrNoEvents
	}
	return report.Read(s.text)
}

// ErrNoEvents means that a file has no events that could be printed.
var ErrNoEvents = errors.New("a report has only sums; a recording, which \"taskiso run --record FILE\" writes, has each break")

// ReadReport reads a saved report, or makes that of a recording.
func ReadReport(in io.Reader) (*report.Report, error) {
	s := &Saved{text: bufio.NewReader(in)}
	var err error
	if s.Recording, err = recordingIn(s.text); err != nil {
		return nil, err
	}
	return s.read(nil)
}

// recordingIn returns a reader of the recording that begins here, or nil if none does.
func recordingIn(in *bufio.Reader) (*record.Reader, error) {
	begin, _ := in.Peek(record.MagicBytes) // fewer at the end of the file
	if !record.IsRecording(begin) {
		return nil, nil
	}
	return record.NewReader(in)
}

// replay reads a recording.
func replay(in io.Reader, to observe.Listener) (*report.Report, error) {
	s := &Saved{text: bufio.NewReader(in)}
	if begin, _ := s.text.Peek(1); string(begin) == "{" {
		return nil, ErrNoEvents
	}
	recording, err := record.NewReader(s.text)
	switch {
	case err != nil:
		return nil, err
	case recording.Header.Hold:
		return nil, ErrHold
	}
	return observe.ReplayTo(recording, to)
}
