// SPDX-License-Identifier: Apache-2.0

package export

import (
	"fmt"
	"time"

	"github.com/taskiso/taskiso/internal/perfetto"
	"github.com/taskiso/taskiso/internal/stay"
)

// cpuTracks are the tracks of one CPU, which are made when they are needed.
type cpuTracks struct {
	w     *perfetto.Writer
	group perfetto.Track
	lanes lanes
	sends perfetto.Track // what was sent from here
	loss  perfetto.Track

	counters     [3]perfetto.Track // made together
	breaks       uint64
	kernel, lost int64
	counted      time.Duration // when they were written last
}

// Ranks of the tracks of a CPU.
const (
	rankLanes = iota
	rankSends
	rankLoss
	rankCounters
)

// cpu returns the tracks of a CPU. The format of recordings bounds how many there are.
func (t *Trace) cpu(n int) *cpuTracks {
	c := t.cpus[n]
	if c == nil {
		c = &cpuTracks{w: t.w, group: t.w.NewTrack(fmt.Sprintf("CPU %d", n), perfetto.Top, rankCPUs+n)}
		c.lanes = lanes{w: t.w, name: "user mode and breaks", below: c.group, rank: rankLanes}
		t.cpus[n] = c
	}
	return c
}

// observed makes the counters of a CPU, which begin with 0.
func (c *cpuTracks) observed() {
	if c.counters[0] != perfetto.Top {
		return
	}
	c.counters[0] = c.w.NewCounter("breaks", c.group, rankCounters, perfetto.Count)
	c.counters[1] = c.w.NewCounter("time in breaks", c.group, rankCounters+1, perfetto.Nanoseconds)
	c.counters[2] = c.w.NewCounter("events lost", c.group, rankCounters+2, perfetto.Count)
}

func (c *cpuTracks) lane(from, until time.Duration, tid uint32) (perfetto.Track, bool) {
	return c.lanes.find(from, until, uint64(tid))
}

// countEvery is how often the counters of a CPU are written at most.
const countEvery = time.Millisecond

// count takes in what a stay took of the CPU.
func (c *cpuTracks) count(share stay.Spent, at time.Duration) {
	c.kernel += int64(share.Kernel)
	if at >= c.counted+countEvery {
		c.set(at)
	}
}

// set writes the counters.
func (c *cpuTracks) set(at time.Duration) {
	if c.counters[0] == perfetto.Top && c.breaks == 0 && c.kernel == 0 && c.lost == 0 {
		return // of a CPU that only sends
	}
	c.observed()
	c.counted = at
	for i, value := range []int64{int64(c.breaks), c.kernel, c.lost} {
		c.w.Set(c.counters[i], at, value)
	}
}

// lose takes in that events were lost. No loss begins before the end of the one before.
func (c *cpuTracks) lose(from, until time.Duration, events uint64) {
	if c.loss == perfetto.Top {
		c.loss = c.w.NewTrack("events lost", c.group, rankLoss)
	}
	c.w.Begin(c.loss, from, &perfetto.Event{Name: "events lost", Args: []perfetto.Arg{{Name: "events", Value: int64(events)}}})
	c.w.End(c.loss, max(from, until))
	c.lost += int64(events)
}
