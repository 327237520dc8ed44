// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

// fakeKeeper notes what it is asked.
type fakeKeeper struct {
	asked  []string
	failed error
}

func (k *fakeKeeper) SetIsolated(isolated bool) error {
	k.asked = append(k.asked, fmt.Sprintf("isolated %t", isolated))
	return k.failed
}

func (k *fakeKeeper) Settle(time.Duration) error {
	k.asked = append(k.asked, "settle")
	return k.failed
}

// occupants has the slot of the thread that is isolated on a CPU.
type occupants map[int]int

func (o occupants) Occupant(cpu int) (slot int, ok bool) {
	slot, ok = o[cpu]
	return slot, ok
}

// gateTest is a gate for CPUs 2 and 3, with what is around it.
type gateTest struct {
	*testing.T
	gate     *Gate
	keeper   fakeKeeper
	isolated occupants
}

func newGateTest(t *testing.T) *gateTest {
	cpus, err := cpulist.Parse("2-3")
	if err != nil {
		t.Fatal(err)
	}
	g := &gateTest{T: t, isolated: make(occupants)}
	g.gate = NewGate(&g.keeper, g.isolated, cpus)
	return g
}

// asked checks what the keeper was asked since the last time.
func (g *gateTest) asked(want ...string) {
	g.Helper()
	if !slices.Equal(g.keeper.asked, want) {
		g.Errorf("the keeper was asked %q, want %q", g.keeper.asked, want)
	}
	g.keeper.asked = nil
}

func (g *gateTest) poll() {
	g.Helper()
	if err := g.gate.Poll(); err != nil {
		g.Error(err)
	}
}

func (g *gateTest) enter() (done func()) {
	g.Helper()
	done, err := g.gate.Enter()
	if err != nil {
		g.Error(err)
	}
	return done
}

func (g *gateTest) window(slot int) {
	g.Helper()
	if err := g.gate.Window(slot); err != nil {
		g.Error(err)
	}
}

// Until a thread asks to be isolated, the keeper itself decides when to hold.
func TestGateLeavesTheKeeperAlone(t *testing.T) {
	g := newGateTest(t)
	g.isolated[2] = 0
	g.poll()
	g.asked()
}

// Operations are held from before a thread is isolated until after it, and the keeper is asked only for what changes.
func TestGateOfOneThread(t *testing.T) {
	g := newGateTest(t)
	done := g.enter()
	g.asked("isolated true", "settle")
	g.poll()
	g.asked()
	g.isolated[2] = 0
	done()
	g.poll()
	g.asked()
	delete(g.isolated, 2)
	g.poll()
	g.asked("isolated false")
	g.poll()
	g.asked()
}

// A thread that is refused isolation leaves the gate open, as soon as that is looked at.
func TestGateOfARefusedThread(t *testing.T) {
	g := newGateTest(t)
	done := g.enter()
	done()
	g.asked("isolated true", "settle")
	g.poll()
	g.asked("isolated false")
}

func TestGateOnOtherCPUs(t *testing.T) {
	g := newGateTest(t)
	g.enter()()
	g.isolated[5] = 0
	g.asked("isolated true", "settle")
	g.poll()
	g.asked("isolated false")
}

// A window is open from the call until the thread asks again. While another thread is isolated there is none.
func TestGateWindow(t *testing.T) {
	g := newGateTest(t)
	done := g.enter()
	g.isolated[2] = 0
	done()
	g.asked("isolated true", "settle")
	g.window(0)
	g.asked("isolated false", "settle")
	done = g.enter()
	g.asked("isolated true", "settle")
	done()
	g.poll()
	g.asked()

	g.isolated[3] = 1
	g.window(0)
	g.asked("settle")
	delete(g.isolated, 3)
	g.poll()
	g.asked()
}

// An error of the keeper comes back, and what is to be called after Enter can be called all the same.
func TestGateErrors(t *testing.T) {
	g := newGateTest(t)
	g.keeper.failed = errors.New("the keeper has ended")
	done, err := g.gate.Enter()
	if !errors.Is(err, g.keeper.failed) {
		t.Errorf("Enter: %v, want %v", err, g.keeper.failed)
	}
	done()
	if err := g.gate.Window(0); !errors.Is(err, g.keeper.failed) {
		t.Errorf("Window: %v, want %v", err, g.keeper.failed)
	}
}
