// SPDX-License-Identifier: Apache-2.0

package deferral

// The state word of a slot. Everything that a poster and the slot's owner have
// to agree on is in this one word, because two words cannot be read and written
// together: a request and the owner's departure are then ordered by the word's
// own modification order, and no pair of "write mine, read yours" remains that
// a store buffer could turn around.
//
//	bits  0-1   state: detached, offline, online
//	bit   2     pinned: somebody acts on the slot's behalf, Enter waits
//	bit   3     sync: a catch-up is wanted, nothing else
//	bit   4     cells: at least one cell was published
//	bit   5     queue: at least one message was sent
//	bits  6-7   zero
//	bits  8-31  one bit for each Kind
//	bits 32-63  round: how often the owner has taken work (low 32 bits)
//
// Posters set work bits and the pin; the owner alone changes state and round.
const (
	stateMask = 0b11
	detached  = 0 // no owner
	offline   = 1 // owner uses nothing shared; it catches up before it does
	online    = 2 // owner may be using shared data

	pinBit   = 1 << 2
	syncBit  = 1 << 3
	cellsBit = 1 << 4
	queueBit = 1 << 5

	kindShift = 8
	workMask  = 0xffffff38

	roundShift = 32
)

// MaxKinds is the number of kinds a slot can be posted: 0 to MaxKinds-1.
const MaxKinds = 24

// word composes a state word without work.
func word(state uint64, round uint64) uint64 {
	return state | round<<roundShift
}

// roundOf completes the 32 bits of a round that are in w, knowing a recorded
// round that is not newer and less than 2^32 rounds older.
func roundOf(w, recorded uint64) uint64 {
	return recorded + uint64(uint32(w>>roundShift)-uint32(recorded))
}

func kindBit(k Kind) uint64 { return 1 << (kindShift + k) }
