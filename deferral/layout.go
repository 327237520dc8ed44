// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"fmt"
	"math"
	"math/bits"
	"unsafe"
)

// Layout, version 1. Numbers have the byte order of the machine, which all peers
// share; offsets are in bytes. It is the
// interface to include/taskiso/deferral.h and to other languages: a change of
// anything below is a new version.
//
//	header (256)
//	    0  u64 magic      "DEFERRAL"
//	    8  u32 version    1
//	   12  u32 slots      1..4096
//	   16  u32 cells      0..16, in each slot
//	   20  u32 cell size  payload bytes of one cell
//	   24  u32 queue      messages in each slot's queue: 0 or a power of two
//	   28  u32 message    payload bytes of one message
//	   32  u64 stride     bytes from one slot to the next
//	   40  u64 size       of the whole region
//	slot (stride), the first at 256
//	    0  u64 state      word.go
//	  128  u64 done       rounds whose work is done; written by the owner
//	  136  u64 head       messages received; written by the owner
//	  256  u64 poster     lock of publishers and senders: peer+1, or 0
//	  264  u64 tail       messages sent; written under the poster lock
//	  384  u64 pinner     lock of RunPinned: peer+1, or 0
//	  512  cells, then the queue
//	cell: 128 bytes, first its control word (cell.go), then three buffers
//	buffer and message: u32 length of the payload plus one (0: never written),
//	12 bytes zero, payload; padded to 64 bytes
//
// Lines that different sides write are 128 bytes apart, because the adjacent
// line prefetcher of x86 moves cache lines in pairs.
const (
	magic         = 0x4c41525245464544 // "DEFERRAL"
	layoutVersion = 1

	headerSize  = 256
	recordSize  = 512
	cellCtlSize = 128
	boxHeader   = 16

	maxSlots       = 4096
	maxCells       = 16
	maxCellSize    = 1 << 20
	maxQueue       = 1 << 16
	maxMessageSize = 1 << 16
	maxRegion      = min(1<<32, math.MaxInt)
)

type header struct {
	magic    uint64
	version  uint32
	slots    uint32
	cells    uint32
	cellSize uint32
	queue    uint32
	message  uint32
	stride   uint64
	size     uint64
}

// slotRecord is the fixed part of a slot.
type slotRecord struct {
	state uint64
	_     [120]byte
	done  uint64
	head  uint64
	_     [112]byte
	post  uint64
	tail  uint64
	_     [112]byte
	pin   uint64
	_     [120]byte
}

// geometry is a checked header. It is copied out of shared memory once: what
// is read there later cannot move a pointer.
type geometry struct {
	slots, cells, cellSize, queue, message int
	stride, size                           int
}

func pad(n, to int) int { return (n + to - 1) &^ (to - 1) }

func boxSize(payload int) int { return pad(boxHeader+payload, 64) }

func (g geometry) cellStride() int { return cellCtlSize + pad(3*boxSize(g.cellSize), 128) }

// complete checks the numbers a caller or a header gives and derives the rest.
func (g geometry) complete() (geometry, error) {
	for _, limit := range []struct {
		name     string
		n, least int
		most     int
	}{
		{"slots", g.slots, 1, maxSlots},
		{"cells", g.cells, 0, maxCells},
		{"cell size", g.cellSize, 0, maxCellSize},
		{"queue length", g.queue, 0, maxQueue},
		{"message size", g.message, 0, maxMessageSize},
	} {
		if limit.n < limit.least || limit.n > limit.most {
			return g, fmt.Errorf("%w: %s %d is not in %d..%d", ErrLayout, limit.name, limit.n, limit.least, limit.most)
		}
	}
	if g.queue != 0 && bits.OnesCount(uint(g.queue)) != 1 {
		return g, fmt.Errorf("%w: queue length %d is not a power of two", ErrLayout, g.queue)
	}
	// An odd multiple of 128, so that the slots' words do not share a few sets
	// of the cache.
	parts := recordSize + int64(g.cells)*int64(g.cellStride()) + int64(g.queue)*int64(boxSize(g.message))
	stride := (parts+127)&^127 | 128
	size := headerSize + int64(g.slots)*stride
	if size > maxRegion {
		return g, fmt.Errorf("%w: region of %d bytes is larger than %d", ErrLayout, size, maxRegion)
	}
	g.stride, g.size = int(stride), int(size)
	return g, nil
}

func (g geometry) header() header {
	return header{
		magic: magic, version: layoutVersion,
		slots: uint32(g.slots), cells: uint32(g.cells), cellSize: uint32(g.cellSize),
		queue: uint32(g.queue), message: uint32(g.message),
		stride: uint64(g.stride), size: uint64(g.size),
	}
}

// readGeometry accepts only a header that this version would have written for
// the same numbers, in a region that is large enough for them.
func readGeometry(region []byte) (geometry, error) {
	var none geometry
	if len(region) < headerSize {
		return none, fmt.Errorf("%w: region of %d bytes is smaller than the header", ErrLayout, len(region))
	}
	h := *(*header)(unsafe.Pointer(unsafe.SliceData(region)))
	if h.magic != magic {
		return none, fmt.Errorf("%w: magic %#x instead of %#x", ErrLayout, h.magic, uint64(magic))
	}
	if h.version != layoutVersion {
		return none, fmt.Errorf("%w: version %d, this library has %d", ErrVersion, h.version, layoutVersion)
	}
	g, err := geometry{
		slots: int(h.slots), cells: int(h.cells), cellSize: int(h.cellSize),
		queue: int(h.queue), message: int(h.message),
	}.complete()
	if err != nil {
		return none, err
	}
	if h != g.header() {
		return none, fmt.Errorf("%w: stride %d and size %d, computed %d and %d", ErrLayout, h.stride, h.size, g.stride, g.size)
	}
	if len(region) < g.size {
		return none, fmt.Errorf("%w: region of %d bytes, header says %d", ErrLayout, len(region), g.size)
	}
	return g, nil
}

func (g geometry) record(region []byte, slot int) *slotRecord {
	at := headerSize + slot*g.stride
	return (*slotRecord)(unsafe.Pointer(&region[at : at+recordSize][0]))
}

func (g geometry) cell(region []byte, slot, key int) cell {
	at := headerSize + slot*g.stride + recordSize + key*g.cellStride()
	c := region[at : at+g.cellStride()]
	size := boxSize(g.cellSize)
	first := c[cellCtlSize:]
	return cell{
		ctl:   (*uint64)(unsafe.Pointer(&c[0])),
		boxes: [3]box{box(first[:size]), box(first[size : 2*size]), box(first[2*size : 3*size])},
	}
}

func (g geometry) ring(region []byte, slot int) ring {
	at := headerSize + slot*g.stride + recordSize + g.cells*g.cellStride()
	size := boxSize(g.message)
	return ring{bytes: region[at : at+g.queue*size], boxSize: size, len: uint64(g.queue)}
}

// box is a length and as many bytes of payload. The length is shared memory:
// it is checked each time.
type box []byte

func (b box) length() *uint32 { return (*uint32)(unsafe.Pointer(unsafe.SliceData(b))) }

func (b box) put(v []byte) {
	copy(b[boxHeader:], v)
	*b.length() = uint32(len(v)) + 1
}

// get returns the payload, nil if there is none, or false if the length that
// a peer wrote cannot be true. The length is read once.
func (b box) get(most int) ([]byte, bool) {
	stored := int(*b.length())
	if stored == 0 {
		return nil, true
	}
	n := stored - 1
	if n > most {
		return nil, false
	}
	return b[boxHeader : boxHeader+n : boxHeader+n], true
}
