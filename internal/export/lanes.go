// SPDX-License-Identifier: Apache-2.0

package export

import (
	"time"

	"github.com/taskiso/taskiso/internal/perfetto"
)

// lanes are tracks of one name, which a viewer draws as one, for slices that overlap: on one track they have to nest. The slices
// come in the order of their ends.
type lanes struct {
	w     *perfetto.Writer
	name  string
	below perfetto.Track
	rank  int
	all   []lane
}

type lane struct {
	track perfetto.Track
	until time.Duration // nothing on it is later
	of    uint64        // what was on it last
}

// maxLanes bounds how many slices can overlap: as many as package stay knows threads.
const maxLanes = 8192

// find returns the lane for a slice: that on which the same was before if it is free, and else the one that was free for the shortest
// time. It returns false if there are too many.
func (l *lanes) find(from, until time.Duration, of uint64) (perfetto.Track, bool) {
	best := -1
	for i := range l.all {
		switch have := &l.all[i]; {
		case have.until > from:
		case have.of == of:
			have.until = until
			return have.track, true
		case best < 0 || have.until > l.all[best].until:
			best = i
		}
	}
	if best < 0 {
		if len(l.all) == maxLanes {
			return perfetto.Top, false
		}
		best = len(l.all)
		l.all = append(l.all, lane{track: l.w.NewTrack(l.name, l.below, l.rank)})
	}
	l.all[best].until, l.all[best].of = until, of
	return l.all[best].track, true
}
