// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bufio"
	"errors"
	"hash/crc32"
	"io"
	"math"
)

// searchWindow is how much of a file is looked at once for the next header.
const searchWindow = 1 << 16

// maxDamage bounds how much of a file is passed over before it is given up: a file can be endless.
const maxDamage = 4 * maxChunk

// errDamaged means that a chunk is damaged. The next one can be read.
var errDamaged = errors.New("a chunk is damaged")

// source reads the chunks of a file, and finds those that come after damage.
type source struct {
	in      *bufio.Reader
	damaged int64 // how many bytes were passed over since the last whole chunk
}

func newSource(in io.Reader) *source { return &source{in: bufio.NewReaderSize(in, searchWindow)} }

// next returns the next chunk. It returns [io.EOF] at the end of the file, also within a chunk: the recorder was killed while it wrote, or writes
// just now. With [errDamaged] it returns what is known of the chunk: nothing if its header is damaged.
func (s *source) next() (chunk, error) {
	if s.damaged > maxDamage {
		return chunk{}, io.EOF
	}
	begin, err := s.in.Peek(chunkHeader)
	if err != nil {
		return chunk{}, err
	}
	h, ok := parseHeader(begin)
	if !ok {
		return chunk{}, s.search()
	}
	if _, err := s.in.Discard(chunkHeader); err != nil {
		return chunk{}, err
	}
	c := h.chunk
	if c.content, err = s.content(h.length); err != nil {
		return chunk{}, err
	}
	if crc32.Checksum(c.content, castagnoli) != h.sum {
		s.refuse(c)
		return h.chunk, errDamaged
	}
	return c, nil
}

// accept notes that a chunk is whole, and stands where it belongs.
func (s *source) accept() { s.damaged = 0 }

// refuse notes that one does not.
func (s *source) refuse(c chunk) { s.damaged += int64(chunkHeader + len(c.content)) }

// giveUp ends the reading.
func (s *source) giveUp() { s.damaged = math.MaxInt64 }

// search goes to the next header, and returns errDamaged if there is one. Each byte is looked at once.
func (s *source) search() error {
	for s.damaged <= maxDamage {
		window, err := s.in.Peek(searchWindow)
		if len(window) < chunkHeader {
			return err
		}
		at := 0
		for ; at+chunkHeader <= len(window); at++ {
			if _, ok := parseHeader(window[at:]); ok {
				err = errDamaged
				break
			}
		}
		s.damaged += int64(at)
		if _, discarded := s.in.Discard(at); discarded != nil || err != nil {
			return errors.Join(discarded, err)
		}
	}
	return io.EOF
}

// firstContent is for how much content there is room at first: more than a recorder puts into a chunk.
const firstContent = 1 << 19

// content reads what follows a header. Its room grows with what is there, whatever the header claims.
func (s *source) content(length int) ([]byte, error) {
	content := make([]byte, 0, min(length, firstContent))
	for len(content) < length {
		if len(content) == cap(content) {
			content = append(make([]byte, 0, min(length, 4*cap(content))), content...)
		}
		n, err := s.in.Read(content[len(content):cap(content)])
		content = content[:len(content)+n]
		if err != nil {
			return nil, err
		}
	}
	return content, nil
}
