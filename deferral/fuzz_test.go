// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"bytes"
	"context"
	"testing"
	"time"
)

// FuzzOpen opens arbitrary memory: an error, or a domain that can be used.
func FuzzOpen(f *testing.F) {
	good := create(f, small).mem.bytes
	f.Add(bytes.Clone(good[:headerSize]), uint16(len(good)))
	f.Add([]byte{}, uint16(0))
	f.Add(bytes.Clone(good[:48]), uint16(256))
	for at := range 48 {
		c := bytes.Clone(good[:headerSize])
		c[at] ^= 0x81
		f.Add(c, uint16(len(good)))
	}
	f.Fuzz(func(t *testing.T, head []byte, size uint16) {
		content := make([]byte, size)
		copy(content, head)
		d, err := Open(memfd(t, content, needSeals))
		if err != nil {
			return
		}
		defer d.Close()
		d.patience = 0
		useAll(t, d)
	})
}

// FuzzCorrupt overwrites a domain in use: errors, but no access outside of the
// region, no panic and no endless loop.
func FuzzCorrupt(f *testing.F) {
	f.Add(uint16(headerSize), []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	for _, at := range []int{0, 8, 128, 256, 264, 384, 512, 640, 700, 136} {
		f.Add(uint16(headerSize+at), []byte{0x13, 0x7f, 0xff, 0, 0xaa, 3, 0x80, 0xff})
	}
	f.Fuzz(func(t *testing.T, at uint16, b []byte) {
		d := create(t, Options{Slots: 1, Cells: 2, CellSize: 8, Queue: 2, MessageSize: 8})
		d.patience = 0
		s := attach(t, d, 0)
		s.Enter()
		corrupt(d, int(at), b)
		use(t, d, s)
		corrupt(d, int(at), b)
		s.Exit()
		use(t, d, s)
		s.Exit()
		s.Detach()
	})
}

// corrupt spares the pin of the state word: Enter waits for it, as documented.
func corrupt(d *Domain, at int, b []byte) {
	copy(d.mem.bytes[min(at, len(d.mem.bytes)):], b)
	d.slots[0].state &^= pinBit
}

// useAll calls everything once for each slot that has room for it.
func useAll(t *testing.T, d *Domain) {
	for slot := range min(d.Slots(), 4) {
		d.slots[slot].state &^= pinBit
		s, err := d.Attach(slot)
		if err != nil {
			continue
		}
		use(t, d, s)
		s.Exit()
		s.Detach()
	}
}

func use(t *testing.T, d *Domain, s *Slot) {
	for key := range d.geo.cells {
		s.HandleCell(key, func(v []byte) { touch(v) })
	}
	s.HandleMessages(touch)
	s.Enter()
	d.Post(s.index, 0)
	for key := range d.geo.cells {
		d.Publish(s.index, key, make([]byte, d.geo.cellSize))
		touch(s.Cell(key))
	}
	d.Send(s.index, make([]byte, d.geo.message))
	if s.Poll() {
		s.CatchUp()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Microsecond)
	defer cancel()
	d.Synchronize(ctx)
	d.RunPinned(s.index, func() {})
	s.Err()
}

var sink byte

func touch(v []byte) {
	for _, b := range v {
		sink ^= b
	}
}
