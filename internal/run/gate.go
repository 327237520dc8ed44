// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"sync"
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

// Keeper is what a gate needs of hold.Keeper.
type Keeper interface {
	SetIsolated(isolated bool) error
	Settle(limit time.Duration) error
}

// Occupants is what a gate needs of trace.Isolation.
type Occupants interface {
	Occupant(cpu int) (slot int, ok bool)
}

// Gate closes the hold before a thread is isolated, and opens it when no thread
// is any more, or all that are have opened a window.
type Gate struct {
	keeper    Keeper
	isolation Occupants
	cpus      cpulist.Set

	mu       sync.Mutex
	entering int          // threads that ask to be isolated
	windows  map[int]bool // slots of threads in a window
	asked    bool         // whether any thread ever did
	isolated bool         // what the keeper was notified of last
}

// NewGate returns the gate for threads that are isolated on the CPUs.
func NewGate(keeper Keeper, isolation Occupants, cpus cpulist.Set) *Gate {
	return &Gate{keeper: keeper, isolation: isolation, cpus: cpus, windows: make(map[int]bool)}
}

// WindowSettle is how long a window lasts at most while released operations
// have not ended.
const WindowSettle = time.Second

// Enter is called before a thread may be isolated, and returns what is to be
// called when it is, or will not be. It waits for operations that were let go.
func (g *Gate) Enter() (done func(), err error) {
	err = g.enter(1)
	if err == nil {
		err = g.keeper.Settle(WindowSettle)
	}
	return func() { g.enter(-1) }, err
}

func (g *Gate) enter(threads int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.entering += threads
	if threads < 0 {
		return nil // Poll notifies it of the rest
	}
	return g.tell()
}

// Window lets operations go on that wait, unless another thread is isolated, and
// returns when they have ended. The thread with the slot is in its call meanwhile.
func (g *Gate) Window(slot int) error {
	if err := g.setWindow(slot, true); err != nil {
		return err
	}
	err := g.keeper.Settle(WindowSettle)
	return errors.Join(err, g.setWindow(slot, false))
}

func (g *Gate) setWindow(slot int, open bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.windows[slot] = open
	if !open {
		return nil // Enter closes the window when the thread isolates itself again
	}
	return g.tell()
}

// Poll is to be called every few milliseconds.
func (g *Gate) Poll() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.asked {
		return nil
	}
	return g.tell()
}

// tell notifies the keeper of a change.
func (g *Gate) tell() error {
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
