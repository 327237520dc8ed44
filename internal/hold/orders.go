// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/hold/operation"
)

// Status is what a keeper does at a moment. It is the output of `taskiso hold
// status --json`: a contract, described by docs/hold.schema.json.
type Status struct {
	Schema int         `json:"schema"`
	PID    int         `json:"pid"`
	CPUs   cpulist.Set `json:"cpus"`
	// Closed is true while operations are held; Why names the rule or the order that decides.
	Closed bool   `json:"closed"`
	Why    string `json:"why"`
	// Held are the operations that wait, in the order of their arrival, with the
	// time they have waited.
	Held   []operation.Record           `json:"held"`
	Counts map[operation.Outcome]uint64 `json:"counts"` // of operations that have ended
	Lost   uint64                       `json:"lost"`   // events, which were repeated
	// Missed is how often the kernel passed our programs by: each may have been an operation.
	Missed uint64 `json:"missed"`
	// Seen is how often an operation was held in a way that its program can see.
	Seen uint64 `json:"seen"`
}

// Schema is the version of Status and Record. Until 2 outcomes and reasons were words.
const Schema = 2

// Status returns what the keeper does now.
func (k *Keeper) Status() (Status, error) {
	s := Status{Schema: Schema, PID: os.Getpid(), CPUs: k.cfg.CPUs, Held: []operation.Record{}, Counts: make(map[operation.Outcome]uint64)}
	var err error
	ended := k.do(func() {
		s.Closed, s.Why = !k.isOpen(), k.why()
		for _, h := range k.held {
			if r := h.record; !h.stage.hasRecord() {
				r.Outcome, r.Held = operation.Held, k.now()-h.event.Time
				s.Held = append(s.Held, r)
			}
		}
		for o, n := range k.counts {
			s.Counts[o] = n
		}
		s.Lost, err = k.guard.lost()
		missed, errMissed := k.guard.missed()
		seen, errSeen := k.guard.seen()
		s.Missed, s.Seen, err = missed, seen, errors.Join(err, errMissed, errSeen)
	})
	if ended != nil {
		return Status{}, ended
	}
	return s, err
}

// why names the rule or the order that decides whether operations are held.
func (k *Keeper) why() string {
	until := ""
	if !k.hand.until.IsZero() {
		until = " until " + k.hand.until.Format(time.TimeOnly)
	}
	w := k.cfg.When
	switch {
	case k.hand.set:
		return "by hand" + until
	case (w.Window.isSet() || w.During.isSet()) && w.mode(time.Now()) == open:
		return "by the clock"
	case k.isolated != nil:
		return "while a thread is isolated"
	case w.WhileBusy:
		return "while a task runs on the CPUs"
	case w.Window.isSet() || w.During.isSet():
		return "by the clock"
	}
	return "always"
}

// All is the number of every operation, for Release.
const All = 0

// Release lets an operation go on that waits, or All.
func (k *Keeper) Release(id uint64) (released int, err error) {
	ended := k.do(func() { released = k.releaseByHand(id) })
	if ended != nil {
		return 0, ended
	}
	if released == 0 && id != All {
		return 0, fmt.Errorf("releasing %d: no such operation waits; \"taskiso hold status\" lists them", id)
	}
	return released, nil
}

func (k *Keeper) releaseByHand(id uint64) (released int) {
	for _, h := range k.held {
		if !h.stage.hasRecord() && (id == All || h.record.ID == id) {
			k.on(h, onRelease, operation.ByHand)
			released++
		}
	}
	return released
}

// Window is what can be ordered by hand.
type Window string

// Values of Window.
const (
	WindowOpen  Window = "open"  // nothing is held
	WindowClose Window = "close" // everything is
	WindowAuto  Window = "auto"  // as was configured
)

// Order sets the window by hand, for a time, or with 0 until another order.
func (k *Keeper) Order(w Window, span time.Duration) error {
	var h hand
	switch w {
	case WindowOpen:
		h = hand{mode: open, set: true}
	case WindowClose:
		h = hand{mode: closed, set: true}
	case WindowAuto:
	default:
		return fmt.Errorf("unknown window %q: want %s, %s or %s", w, WindowOpen, WindowClose, WindowAuto)
	}
	if span > 0 && h.set {
		h.until = time.Now().Add(span)
	}
	return k.do(func() { k.hand = h; k.step() })
}

// SetIsolated notifies the keeper that a thread is isolated (or about to be), or that
// none is. From the first call on, that decides, and not the tasks that run on the CPUs.
// After its return, an operation that arrives is held.
func (k *Keeper) SetIsolated(isolated bool) error {
	return k.do(func() { k.isolated = &isolated; k.step() })
}

// Settle waits until operations that were let go have ended, or a time has passed.
func (k *Keeper) Settle(limit time.Duration) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(lookAtThreads) {
		n := 0
		if err := k.do(func() { n = k.unfinished() }); err != nil || n == 0 || time.Now().After(deadline) {
			return err
		}
	}
}
