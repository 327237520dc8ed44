// SPDX-License-Identifier: Apache-2.0

package task

import (
	"os"
	"time"
)

// Reasons for which a wait ends, as reports name them. A poll has reasons of its own.
const (
	ByExit      = "exit"
	ByDuration  = "duration"
	ByInterrupt = "interrupt"
)

// Wait is a wait for the first of several ends, with something to do meanwhile.
type Wait struct {
	Exited  <-chan *os.ProcessState // of a task of ours; nil for none
	Read    <-chan error            // something that is read has ended, or failed; nil for none
	Signals <-chan os.Signal
	// Signal handles one of Signals and reports whether it ends the wait.
	Signal func(os.Signal) bool

	WarmUp   time.Duration // 0 or less for none
	Warm     func() error  // called at the end of the warm-up; nil for nothing
	Duration time.Duration // from then on; 0 for no end

	Interval time.Duration // between two polls; 0 for none
	// Poll returns a reason to end, "" for none.
	Poll func(now time.Time) (reason string, err error)
}

// Ended is how a wait ended.
type Ended struct {
	By    string           // "" if what is read ended, and after an error
	State *os.ProcessState // of a task that has ended by itself
}

// Until waits.
func (w *Wait) Until() (Ended, error) {
	ticks, stop := w.ticks()
	defer stop()
	warm := time.After(w.WarmUp)
	var expired <-chan time.Time
	for {
		select {
		case state := <-w.Exited:
			return Ended{ByExit, state}, nil
		case err := <-w.Read:
			return Ended{}, err
		case <-warm:
			if err := w.warm(); err != nil {
				return Ended{}, err
			}
			if w.Duration > 0 {
				expired = time.After(w.Duration)
			}
		case <-expired:
			return Ended{By: ByDuration}, nil
		case sig := <-w.Signals:
			if w.Signal(sig) {
				return Ended{By: ByInterrupt}, nil
			}
		case now := <-ticks:
			if reason, err := w.Poll(now); reason != "" || err != nil {
				return Ended{By: reason}, err
			}
		}
	}
}

func (w *Wait) warm() error {
	if w.Warm == nil {
		return nil
	}
	return w.Warm()
}

func (w *Wait) ticks() (<-chan time.Time, func()) {
	if w.Interval == 0 {
		return nil, func() {}
	}
	t := time.NewTicker(w.Interval)
	return t.C, t.Stop
}
