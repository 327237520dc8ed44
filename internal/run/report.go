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

// Report publishes a saved report, or that of a recording, as the observation itself did. Its text goes to out, which is stream.
func Report(console output.Console, name string, cfg OutputConfig, out io.Writer, stream *os.File) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("reading a report: %w", err)
	}
	defer f.Close()
	o, err := OpenOutput(console, cfg, out, stream)
	if err != nil {
		return err
	}
	defer o.Discard()
	o.foreign = true
	r, err := read(f, o.onBreak())
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	return o.publish(r, nil)
}

// ErrNoEvents means that a file has no events that could be printed.
var ErrNoEvents = errors.New("a report has only sums; a recording, which \"taskiso run --record FILE\" writes, has each break")

// ReadReport reads a saved report, or makes that of a recording.
func ReadReport(in io.Reader) (*report.Report, error) { return read(in, nil) }

func read(in io.Reader, onBreak func(report.Break)) (*report.Report, error) {
	buffered := bufio.NewReader(in)
	if begin, _ := buffered.Peek(record.MagicBytes); onBreak == nil && !record.IsRecording(begin) { // fewer at the end of the file
		return report.Read(buffered)
	}
	return replay(buffered, observe.Listener{Break: onBreak})
}

// replay reads a recording.
func replay(in io.Reader, to observe.Listener) (*report.Report, error) {
	buffered := bufio.NewReader(in)
	if begin, _ := buffered.Peek(1); string(begin) == "{" {
		return nil, ErrNoEvents
	}
	recording, err := record.NewReader(buffered)
	if err != nil {
		return nil, err
	}
	return observe.ReplayTo(recording, to)
}
