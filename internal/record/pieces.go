// SPDX-License-Identifier: Apache-2.0

package record

import (
	"iter"

	"github.com/taskiso/taskiso/internal/event"
)

// Pieces cuts a batch into such as have at most so many events. Losses can be anywhere in it, but are counted once.
func Pieces(b event.Batch, most int) iter.Seq[event.Batch] {
	return func(yield func(event.Batch) bool) {
		for len(b.Events) > most {
			var piece event.Batch
			if piece, b = split(b, most); !yield(piece) {
				return
			}
		}
		yield(b)
	}
}

// split cuts off the first events of a batch.
func split(b event.Batch, n int) (first, rest event.Batch) {
	first, rest = b, b
	first.Events, rest.Events = b.Events[:n], b.Events[n:]
	if len(rest.Events) > 0 {
		first.Until, rest.Lost = b.Events[n-1].Time, uncounted(b.Lost)
	}
	return first, rest
}

// uncounted returns losses that were counted before.
func uncounted(lost map[int]uint64) map[int]uint64 {
	zero := make(map[int]uint64)
	for cpu := range lost {
		zero[cpu] = 0
	}
	return zero
}
