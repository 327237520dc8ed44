// SPDX-License-Identifier: Apache-2.0

package output

import (
	"errors"
	"io"
	"os"

	"github.com/taskiso/taskiso/internal/display"
)

// Sheet is where the text of a report goes: to the file of --output, or else to a stream.
type Sheet struct {
	console  Console
	file     *display.File // nil for none
	stream   io.Writer
	coloured bool
	columns  func() int
	print    bool // on the stream, even if nothing failed
}

// OpenSheet opens the file, if there is one. Without it the report is printed on out, which is stream.
func (c Console) OpenSheet(file string, out io.Writer, stream *os.File, printed bool) (*Sheet, error) {
	s := &Sheet{console: c, stream: out, coloured: WantsColour(stream), columns: func() int { return Columns(stream, os.Getenv) }, print: printed && file == ""}
	if file == "" {
		return s, nil
	}
	var err error
	s.file, err = display.Create(file)
	return s, err
}

// Discard drops a file that was not published.
func (s *Sheet) Discard() {
	if s.file != nil {
		s.file.Discard()
	}
}

// Columns is how wide the stream is.
func (s *Sheet) Columns() int { return s.columns() }

// Writer writes a text, with colours for a terminal.
type Writer func(w io.Writer, colour bool) error

// Publish writes the whole text to its file, or prints a shorter one. What could not be written to a file, before or here, is
// printed whole: the observation cannot be made again.
func (s *Sheet) Publish(failed error, whole, short Writer) error {
	if s.file != nil {
		err := whole(s.console.Text(s.file), false)
		if err == nil {
			err = s.file.Publish()
		}
		failed = errors.Join(failed, err)
	}
	switch {
	case failed != nil:
		return errors.Join(failed, whole(s.console.Text(s.stream), s.coloured))
	case s.print:
		return short(s.console.Text(s.stream), s.coloured)
	}
	return nil
}
