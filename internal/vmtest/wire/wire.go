// SPDX-License-Identifier: Apache-2.0

// Package wire is the stream in which a guest reports to its host.
//
// The stream goes over an emulated serial port, which has neither framing nor checks, and which ends silently when the
// guest dies. So each [Frame] is a line with its number and checksum, and the last one says that it is the last. A
// reader learns of every byte that was lost, and can tell a guest that finished from one that died.
package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
)

// MaxLine is the longest line a Decoder accepts, in bytes. MaxOutput is how much output always fits into one.
const (
	MaxLine   = 64 << 10
	MaxOutput = 4 << 10
)

// ErrTruncated says that the stream ended before its last frame, ErrCorrupt that bytes were lost or changed.
var (
	ErrTruncated = errors.New("stream ended without its last frame")
	ErrCorrupt   = errors.New("corrupt stream")
)

// Frame is one message. Exactly one field is set.
type Frame struct {
	Hello  *Hello `json:",omitempty"`
	Output []byte `json:",omitempty"` // what the tests wrote to stdout and stderr
	End    *End   `json:",omitempty"`
}

// Hello is the first frame: the guest booted and can report.
type Hello struct {
	Release string // of the kernel
	Uptime  string // seconds, as /proc/uptime says
}

// End is the last frame.
type End struct {
	ExitCode int    // of the test binary, -1 if it did not exit by itself
	Signal   string `json:",omitempty"` // that ended the test binary
	Error    string `json:",omitempty"` // why the tests could not be run
}

func (f Frame) valid() bool {
	set := 0
	for _, is := range []bool{f.Hello != nil, f.Output != nil, f.End != nil} {
		if is {
			set++
		}
	}
	return set == 1
}

// Encoder writes frames. It is not safe for concurrent use.
type Encoder struct {
	w    io.Writer
	next uint64
}

// NewEncoder returns an Encoder that starts a stream on w.
func NewEncoder(w io.Writer) *Encoder { return &Encoder{w: w} }

// Encode writes one frame with a single Write.
func (e *Encoder) Encode(f Frame) error {
	payload, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding frame: %w", err)
	}
	line := header(e.next, payload)
	line = append(append(line, payload...), '\n')
	if _, err := e.w.Write(line); err != nil {
		return fmt.Errorf("writing frame %d: %w", e.next, err)
	}
	e.next++
	return nil
}

// header is the number and checksum of a frame. The number is part of the checksum.
func header(number uint64, payload []byte) []byte {
	line := strconv.AppendUint(nil, number, 10)
	line = append(line, ' ')
	sum := crc32.Update(crc32.ChecksumIEEE(line), crc32.IEEETable, payload)
	return fmt.Appendf(line, "%08x ", sum)
}

// Decoder reads what an Encoder wrote. It is not safe for concurrent use.
type Decoder struct {
	in    *bufio.Scanner
	next  uint64
	ended bool
}

// NewDecoder returns a Decoder for the stream r.
func NewDecoder(r io.Reader) *Decoder {
	in := bufio.NewScanner(r)
	in.Buffer(nil, MaxLine)
	in.Split(scanWholeLines)
	return &Decoder{in: in}
}

// scanWholeLines gives up on a last line without its end: the rest of it is missing.
func scanWholeLines(data []byte, atEOF bool) (int, []byte, error) {
	if end := bytes.IndexByte(data, '\n'); end >= 0 {
		return end + 1, data[:end], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, ErrTruncated
	}
	return 0, nil, nil
}

// Decode returns the next frame. After the last frame it returns [io.EOF]; any other error is an [ErrTruncated] or
// [ErrCorrupt], or one of the reader, and then the frames so far are genuine but not all.
func (d *Decoder) Decode() (Frame, error) {
	if d.ended {
		return Frame{}, io.EOF
	}
	if !d.in.Scan() {
		return Frame{}, d.scanError()
	}
	f, err := parse(d.in.Bytes(), d.next)
	if err != nil {
		return Frame{}, err
	}
	d.next++
	d.ended = f.End != nil
	return f, nil
}

func (d *Decoder) scanError() error {
	err := d.in.Err()
	switch {
	case err == nil:
		return fmt.Errorf("%w after %d frames", ErrTruncated, d.next)
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("%w: frame %d is longer than %d bytes", ErrCorrupt, d.next, MaxLine)
	}
	return fmt.Errorf("reading frame %d: %w", d.next, err)
}

func parse(line []byte, number uint64) (Frame, error) {
	_, rest, _ := bytes.Cut(line, []byte(" "))
	_, payload, _ := bytes.Cut(rest, []byte(" "))
	want := header(number, payload)
	if !bytes.HasPrefix(line, want) {
		return Frame{}, fmt.Errorf("%w: frame %d has header %.40q, want %q", ErrCorrupt, number, line, want)
	}
	var f Frame
	if err := json.Unmarshal(payload, &f); err != nil {
		return Frame{}, fmt.Errorf("%w: frame %d: %w", ErrCorrupt, number, err)
	}
	if !f.valid() {
		return Frame{}, fmt.Errorf("%w: frame %d is not exactly one message", ErrCorrupt, number)
	}
	return f, nil
}
