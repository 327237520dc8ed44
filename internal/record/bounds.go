// SPDX-License-Identifier: Apache-2.0

package record

// Bounds of what one chunk can make a reader keep: some 64 MiB with what it keeps of others. A recorder stays far below, and leaves out
// a chunk that does not.
const (
	MaxEvents  = 1 << 15                // of a batch
	maxText    = 512                    // bytes of a name: KSYM_NAME_LEN of include/linux/kallsyms.h
	maxHeld    = 1 << 16                // bytes of JSON: the kernel's longest path is 4096, and JSON can write six for each
	maxStack   = 64                     // addresses
	maxEntries = 1 << 17                // tasks, senders and stacks together
	maxRoom    = 24 << 20               // bytes of all these in memory
	maxContent = maxChunk - maxChunk>>8 // of a chunk before it is compressed: what cannot be compressed grows by less
)

// room is what tasks, stacks and senders of a chunk take of a reader's memory. Writer and reader count alike, so that nothing is
// written that cannot be read.
type room struct{ entries, bytes int }

func (r *room) addNamed(name int)   { r.add(96 + 4*name) } // a control character is shown by four others
func (r *room) addStack(frames int) { r.add(32 + 8*frames) }

func (r *room) add(bytes int) {
	r.entries++
	r.bytes += bytes
}

func (r *room) full() bool { return r.entries > maxEntries || r.bytes > maxRoom }

// maxJSON bounds what a text of JSON takes when it is decoded, and the rest is what its values take: of objects and lists as much as the largest of a report.
const (
	maxJSON    = 48 << 20
	objectRoom = 256
	stringRoom = 16
	numberRoom = 8
)

// isAffordable reports whether a text of JSON can be decoded. A few bytes can stand for a whole element of a list.
func isAffordable(text []byte) bool {
	size, inText, escaped, inWord := 0, false, false, false
	for _, b := range text {
		switch {
		case escaped:
			escaped = false
		case inText:
			escaped, inText = b == '\\', b != '"'
		case b == '"':
			inText, size = true, size+stringRoom
		case b == '{', b == '[', b == 'n' && !inWord:
			size += objectRoom
		case !inWord && (b == '-' || '0' <= b && b <= '9'):
			size += numberRoom
		}
		inWord = !inText && (b == '-' || b == '.' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z')
	}
	return size <= maxJSON
}
