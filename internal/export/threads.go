// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/perfetto"
	"github.com/taskiso/taskiso/internal/stay"
)

// threadTracks has the names of threads, and a track for each that was isolated: when it asked, was isolated, and was not because
// isolation was broken.
type threadTracks struct {
	w       *perfetto.Writer
	group   perfetto.Track
	names   map[uint32]string
	tracks  map[uint32]*threadTrack
	waiting int // changes of all threads
	omitted uint64
}

// Bounds of what is kept of threads.
const (
	maxNames        = 1 << 16
	maxThreadTracks = 1024 // as many as package collect keeps apart
	maxWaiting      = 1 << 16
)

type threadTrack struct {
	perfetto.Track
	open bool          // a slice
	last time.Duration // what was written
	// waiting are changes that are not written yet: the stay in which each came tells when the thread asked.
	waiting []change
}

// change is a beginning or an end of isolation.
type change struct {
	at   time.Duration
	name string // what the thread is from then on: "" for nothing
}

const isolated = "isolated"

func (t *threadTracks) init(w *perfetto.Writer) {
	t.w, t.names, t.tracks = w, make(map[uint32]string), make(map[uint32]*threadTrack)
}

func (t *threadTracks) name(task *event.Task) {
	if len(t.names) >= maxNames {
		clear(t.names)
	}
	t.names[task.TID] = task.Name
}

// arg is a thread as a value of a slice.
func (t *threadTracks) arg(tid uint32) perfetto.Arg {
	return perfetto.Arg{Name: "thread", Value: t.text(tid)}
}

func (t *threadTracks) text(tid uint32) string {
	if name := t.names[tid]; name != "" {
		return fmt.Sprintf("%s (%d)", name, event.Shown(tid))
	}
	return fmt.Sprint(event.Shown(tid))
}

func (t *threadTracks) track(tid uint32) *threadTrack {
	track := t.tracks[tid]
	if track == nil && len(t.tracks) < maxThreadTracks {
		if t.group == perfetto.Top {
			t.group = t.w.NewTrack("isolation", perfetto.Top, rankThreads)
		}
		track = &threadTrack{Track: t.w.NewTrack("thread "+t.text(tid), t.group, 0)}
		t.tracks[tid] = track
	}
	return track
}

// event takes in the beginning or the end of a thread's isolation.
func (t *threadTracks) event(e event.Event) {
	if e.Kind == event.Told {
		return // its break is another event
	}
	track := t.track(e.TID)
	if track == nil {
		t.omitted++
		return
	}
	name := ""
	switch e.Kind {
	case event.Isolated:
		name = isolated
	case event.Broken:
		name = "broken: " + taskiso.Cause(e.B).String()
	}
	track.waiting = append(track.waiting, change{e.Time, name})
	if t.waiting++; t.waiting > maxWaiting {
		t.settle(track, e.Time)
	}
}

// stay takes in a stay. The system call in which isolation began is the one that asked for it.
func (t *threadTracks) stay(s *stay.Stay) {
	track := t.tracks[s.TID]
	if track == nil || len(track.waiting) == 0 {
		return
	}
	t.settle(track, s.Start)
	if s.Entry.Kind == event.SyscallEnter && len(track.waiting) > 0 && track.waiting[0].name == isolated && track.waiting[0].at <= s.End {
		t.next(track, s.Start, "asked")
	}
	t.settle(track, s.End)
}

// settle writes the changes of a thread until a time.
func (t *threadTracks) settle(track *threadTrack, until time.Duration) {
	for len(track.waiting) > 0 && track.waiting[0].at <= until {
		t.next(track, track.waiting[0].at, track.waiting[0].name)
		track.waiting = track.waiting[1:]
		t.waiting--
	}
}

// next ends the state of a thread, and begins another one unless that has no name.
func (t *threadTracks) next(track *threadTrack, at time.Duration, name string) {
	at = max(at, track.last)
	track.last = at
	if track.open {
		t.w.End(track.Track, at)
	}
	track.open = name != ""
	if track.open {
		t.w.Begin(track.Track, at, &perfetto.Event{Name: name})
	}
}

// close ends what is open.
func (t *threadTracks) close(at time.Duration) {
	for _, tid := range slices.Sorted(maps.Keys(t.tracks)) {
		track := t.tracks[tid]
		t.settle(track, math.MaxInt64)
		t.next(track, at, "")
	}
}
