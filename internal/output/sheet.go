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
	print    bool // on the stream, even if nothing failed
}

// OpenSheet opens the file, if there is one. Without it the report is printed on out, which is stream.
func (c Console) OpenSheet(file string, out io.Writer, stream *os.File, printed bool) (*Sheet, error) {
	s := &Sheet{console: c, stream: out, coloured: WantsColour(stream), print: printed && file == ""}
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

// Publish writes the text. What could not be written to its file, before or here, is printed: the
// observation cannot be made again.
func (s *Sheet) Publish(failed error, write func(w io.Writer, colour bool) error) error {
	if s.file != nil {
		err := write(s.console.Text(s.file), false)
		if err == nil {
			err = s.file.Publish()
		}
		failed = errors.Join(failed, err)
	}
	if s.print || failed != nil {
		failed = errors.Join(failed, write(s.console.Text(s.stream), s.coloured))
	}
	return failed
}
