// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"hash/crc32"
	"time"
)

// magic begins each recording. Its number is that of the format: a file of another number is refused.
const magic = "taskiso recording 2\n"

// firstMagic is that of the form before headers had a checksum of their own, which no release wrote.
const firstMagic = "taskiso recording 1\n"

// MagicBytes is how much of a file shows whether it is a recording.
const MagicBytes = len(magic)

// Types of chunks.
const (
	headChunk = "head" // JSON of a [Header]; the first
	dataChunk = "data" // records of events
	gapChunk  = "gap " // empty: chunks that could not be written
	endChunk  = "end " // JSON of an [End]; the last
)

// chunkHeader is how long the header of a chunk is: type, length of what follows, first and last time, number of events,
// checksum of what follows, and checksum of all that.
const chunkHeader = 4 + 4 + 8 + 8 + 4 + 4 + 4

// maxChunk is how long the content of a chunk can be in the file. Writers begin a new one long before.
const maxChunk = 16 << 20

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
	to = le.AppendUint32(to, crc32.Checksum(c.content, castagnoli))
	return append(le.AppendUint32(to, crc32.Checksum(to[begin:], castagnoli)), c.content...)
}

// chunkHead is the header of a chunk.
type chunkHead struct {
	chunk  // without its content
	length int
	sum    uint32 // of the content
}

// parseHeader returns the header with which text begins, and whether it does begin with one: its own checksum is right.
func parseHeader(text []byte) (chunkHead, bool) {
	le := binary.LittleEndian
	if len(text) < chunkHeader || !isKind(text[:4]) || crc32.Checksum(text[:chunkHeader-4], castagnoli) != le.Uint32(text[chunkHeader-4:]) {
		return chunkHead{}, false
	}
	h := chunkHead{length: int(le.Uint32(text[4:])), sum: le.Uint32(text[28:])}
	h.kind, h.events = string(text[:4]), le.Uint32(text[24:])
	h.from, h.until = time.Duration(le.Uint64(text[8:])), time.Duration(le.Uint64(text[16:]))
	return h, h.length <= maxChunk && 0 <= h.from && h.from <= h.until
}

func isKind(text []byte) bool {
	switch string(text) {
	case headChunk, dataChunk, gapChunk, endChunk:
		return true
	}
	return false
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
