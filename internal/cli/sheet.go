// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io"
	"os"

	"github.com/taskiso/taskiso/internal/display"
)

// sheet is where the text of a report goes: to the file of --output, or else to a stream.
type sheet struct {
	p        *program
	file     *display.File // nil for none
	stream   io.Writer
	coloured bool
	print    bool // on the stream, even if nothing failed
}

// openSheet opens the file, if there is one. Without it the report is printed on out, which is stream.
func (p *program) openSheet(file string, out io.Writer, stream *os.File, printed bool) (*sheet, error) {
	s := &sheet{p: p, stream: out, coloured: wantsColour(stream), print: printed && file == ""}
	if file == "" {
		return s, nil
	}
	var err error
	s.file, err = display.Create(file)
	return s, err
}

func (s *sheet) discard() {
	if s.file != nil {
		s.file.Discard()
	}
}

// publish writes the text. What could not be written to its file, before or here, is printed: the
// observation cannot be made again.
func (s *sheet) publish(failed error, write func(w io.Writer, colour bool) error) error {
	if s.file != nil {
		err := write(s.p.text(s.file), false)
		if err == nil {
			err = s.file.Publish()
		}
		failed = errors.Join(failed, err)
	}
	if s.print || failed != nil {
		failed = errors.Join(failed, write(s.p.text(s.stream), s.coloured))
	}
	return failed
}
