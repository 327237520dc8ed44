// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"time"
)

// magic begins each recording. Its number is that of the format: a file of another number is refused.
const magic = "taskiso recording 1\n"

// MagicBytes is how much of a file shows whether it is a recording.
const MagicBytes = len(magic)

// Types of chunks.
const (
	headChunk = "head" // JSON of a [Header]; the first
	dataChunk = "data" // records of events
	gapChunk  = "gap " // empty: chunks that could not be written
	endChunk  = "end " // JSON of an [End]; the last
)

// chunkHeader is how long the header of a chunk is: type, length of what follows, first and last time, number of events
// and checksum.
const chunkHeader = 4 + 4 + 8 + 8 + 4 + 4

// maxChunk is how long a chunk can be in the file. Writers begin a new one long before.
const maxChunk = 32 << 20

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // the processor computes it

// chunk is one of a file.
type chunk struct {
	kind        string
	from, until time.Duration // CLOCK_MONOTONIC
	events      uint32
	content     []byte // compressed
}

// appendChunk writes a chunk as it stands in the file.
func appendChunk(to []byte, c chunk) []byte {
	le := binary.LittleEndian
	begin := len(to)
	to = append(to, c.kind...)
	to = le.AppendUint32(to, uint32(len(c.content)))
	to = le.AppendUint64(to, uint64(c.from))
	to = le.AppendUint64(to, uint64(c.until))
	to = le.AppendUint32(to, c.events)
	sum := crc32.Update(crc32.Checksum(to[begin:], castagnoli), castagnoli, c.content)
	return append(le.AppendUint32(to, sum), c.content...)
}

// errDamaged means that the checksum of a chunk is wrong. Where it ends is known all the same.
var errDamaged = errors.New("a chunk is damaged")

// readChunk reads the next chunk. It returns [io.EOF] at the end of the file, [io.ErrUnexpectedEOF] within a chunk, and the
// chunk without its content with [errDamaged].
func readChunk(in io.Reader) (chunk, error) {
	le := binary.LittleEndian
	var header [chunkHeader]byte
	if _, err := io.ReadFull(in, header[:]); err != nil {
		return chunk{}, err
	}
	length := le.Uint32(header[4:])
	c := chunk{
		kind: string(header[:4]), from: time.Duration(le.Uint64(header[8:])), until: time.Duration(le.Uint64(header[16:])),
		events: le.Uint32(header[24:]),
	}
	if !slices.Contains([]string{headChunk, dataChunk, gapChunk, endChunk}, c.kind) || length > maxChunk {
		return chunk{}, fmt.Errorf("%w: no chunk begins with %q", ErrFormat, header[:8])
	}
	var content bytes.Buffer // grows with what is there, whatever the header claims
	if _, err := io.CopyN(&content, in, int64(length)); errors.Is(err, io.EOF) {
		return chunk{}, io.ErrUnexpectedEOF
	} else if err != nil {
		return chunk{}, err
	}
	sum := crc32.Update(crc32.Checksum(header[:chunkHeader-4], castagnoli), castagnoli, content.Bytes())
	if sum != le.Uint32(header[chunkHeader-4:]) {
		return c, errDamaged
	}
	c.content = content.Bytes()
	return c, nil
}

// deflater compresses. Its tables, of more than a megabyte, are made once.
type deflater struct {
	out bytes.Buffer
	w   *flate.Writer
}

func newDeflater() *deflater {
	d := &deflater{}
	var err error
	if d.w, err = flate.NewWriter(&d.out, flate.BestSpeed); err != nil {
		panic(err) // no such level
	}
	return d
}

// compress returns content compressed, which is valid until the next call.
func (d *deflater) compress(content []byte) []byte {
	d.out.Reset()
	d.w.Reset(&d.out)
	if _, err := d.w.Write(content); err != nil {
		panic(err) // a buffer takes everything
	}
	if err := d.w.Close(); err != nil {
		panic(err)
	}
	return d.out.Bytes()
}
