// SPDX-License-Identifier: Apache-2.0

package perfetto

import "google.golang.org/protobuf/encoding/protowire"

// interned are the strings of one kind that were written and are referred to by number. No number is used twice: a reader
// keeps them all.
type interned struct {
	field   protowire.Number
	numbers map[string]uint64
	last    uint64
}

// maxKept bounds the bytes of the strings that are kept, each with what a map needs for it. A trace has few strings unless
// somebody gives his tasks new names all the time.
const (
	maxKept  = 16 << 20
	keptEach = 64
)

// intern returns the number of a string.
func (w *Writer) intern(in *interned, text string) uint64 {
	if n, ok := in.numbers[text]; ok {
		return n
	}
	in.last++
	in.numbers[text] = in.last
	w.kept += len(text) + keptEach
	w.fresh = message(w.fresh, in.field, message(number(nil, stringID, in.last), stringText, []byte(text)))
	return in.last
}

// makeRoom forgets all strings when they are too many.
func (w *Writer) makeRoom() {
	if w.kept > maxKept {
		w.forget()
	}
}

// forget begins anew: no packet from here on refers to a string before.
func (w *Writer) forget() {
	for _, in := range []*interned{&w.names, &w.args, &w.values} {
		in.numbers = make(map[string]uint64)
	}
	w.kept = 0
	packet := number(nil, packetFlags, clearsState)
	if !w.begun {
		packet = number(packet, packetFirst, 1)
		w.begun = true
	}
	w.write(message(packet, packetDefaults, number(nil, defaultClock, monotonicClock)))
}
