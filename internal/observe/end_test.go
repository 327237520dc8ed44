// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"slices"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

// A thread ends by its exit, and by executing a program under the number of its process: then its own is given up
// without an event. One that executes a program as itself goes on.
func TestNumbersThatEnd(t *testing.T) {
	type end struct {
		tid uint32
		at  time.Duration
	}
	executed := func(at time.Duration, before uint64, tid uint32) event.Event {
		return event.Event{Kind: event.Exec, Time: at, B: before, Task: &event.Task{TID: tid, PID: tid}}
	}
	batch := event.Batch{Events: []event.Event{
		{Kind: event.Exit, Time: 1, TID: 5},
		executed(2, 3, 3),
		executed(3, 7, 3),
		{Kind: event.Fork, Time: 4, TID: 3, A: 8},
		{Kind: event.Exit, Time: 5, TID: 3},
	}}
	var ended []end
	o := &Observer{cfg: Config{OnEnd: func(tid uint32, at time.Duration) { ended = append(ended, end{tid, at}) }}}
	o.follow(batch)
	if want := []end{{5, 1}, {7, 3}, {3, 5}}; !slices.Equal(ended, want) {
		t.Errorf("ended %v, want %v", ended, want)
	}
	o.cfg.OnEnd = nil
	o.follow(batch) // without a callback
}
