// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/hold"
	"github.com/taskiso/taskiso/internal/trace"
)

// holdForRun holds for the CPUs of a run: while a thread of the command is
// isolated, or if none ever asked to be, while a task runs there.
func (o *observation) holdForRun(file string) error {
	opts := holdOptions{file: file, given: func(string) bool { return false }}
	if file == defaultSpec {
		opts.file = ""
	}
	cfg, _, err := opts.config()
	if err != nil {
		return err
	}
	cfg.CPUs, cfg.Files = o.target.cpus, o.p.files.View()
	cfg.When.WhileBusy = true
	cfg.Record = func(r hold.Record) {
		o.holdsLock.Lock()
		defer o.holdsLock.Unlock()
		o.holds = append(o.holds, r)
	}
	h, err := openHolding(cfg)
	if err != nil {
		return err
	}
	o.holding = h
	for _, op := range h.keeper.Operations() {
		if op.Missing != "" {
			o.report.Limits = append(o.report.Limits, fmt.Sprintf("operation %s is not held: %s", op.Name, op.Missing))
		}
	}
	return nil
}

// endHold lets everything go, and adds to the report what was held.
func (o *observation) endHold() error {
	if o.holding == nil {
		return nil
	}
	missed, err := o.holding.end()
	o.holding = nil
	if missed > 0 {
		o.report.Limits = append(o.report.Limits, "hold: "+hold.MissedText(missed))
	}
	o.holdsLock.Lock()
	defer o.holdsLock.Unlock()
	o.report.Holds = o.holds
	return err
}

// gate closes the hold before a thread is isolated, and opens it when no thread
// is any more, or all that are have opened a window.
type gate struct {
	keeper    *hold.Keeper
	isolation *trace.Isolation
	cpus      cpulist.Set

	mu       sync.Mutex
	entering int          // threads that ask to be isolated
	windows  map[int]bool // slots of threads in a window
	asked    bool         // whether any thread ever did
	isolated bool         // as the keeper was told last
}

// windowSettle is how long a window lasts at most while released operations
// have not ended.
const windowSettle = time.Second

// Enter is called before a thread may be isolated, and returns what is to be
// called when it is, or will not be. It waits for operations that were let go.
func (g *gate) Enter() (done func(), err error) {
	err = g.enter(1)
	if err == nil {
		err = g.keeper.Settle(windowSettle)
	}
	return func() { g.enter(-1) }, err
}

func (g *gate) enter(threads int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entering += threads
	if threads < 0 {
		return nil // Poll tells the rest
	}
	return g.tell()
}

// Window lets operations go on that wait, unless another thread is isolated, and
// returns when they have ended. The thread with the slot is in its call meanwhile.
func (g *gate) Window(slot int) error {
	if err := g.setWindow(slot, true); err != nil {
		return err
	}
	err := g.keeper.Settle(windowSettle)
	return errors.Join(err, g.setWindow(slot, false))
}

func (g *gate) setWindow(slot int, open bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.windows[slot] = open
	if !open {
		return nil // who closes it is Enter, if the thread wants to be isolated again
	}
	return g.tell()
}

// Poll is to be called every few milliseconds.
func (g *gate) Poll() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.asked {
		return nil
	}
	return g.tell()
}

// tell tells the keeper what has changed.
func (g *gate) tell() error {
	isolated := g.entering > 0
	for cpu := range g.cpus.All() {
		if slot, ok := g.isolation.Occupant(cpu); ok && !g.windows[slot] {
			isolated = true
		}
	}
	if g.asked && isolated == g.isolated {
		return nil
	}
	g.asked, g.isolated = true, isolated
	return g.keeper.SetIsolated(isolated)
}
