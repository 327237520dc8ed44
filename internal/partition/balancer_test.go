// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskiso/taskiso/internal/partition/change"
)

// TestBalancer: irqbalance keeps off what it kept off before and the CPUs, and then
// has exactly its own list back.
func TestBalancer(t *testing.T) {
	for _, test := range []struct{ banned, environment, want, back string }{
		{"", "", "2-3", "-"},      // somebody has told it so: by itself it would keep off nohz_full CPUs
		{"2-3", "", "2-3", ""},    // by itself
		{"1", "1", "1-3", "NULL"}, // by how it was started
		{"0", "1", "0,2-3", "0"},  // somebody has told it so
		{"3", "", "2-3", "3"},
	} {
		k, _ := guest(t)
		socket := k.balancer(7, test.banned, test.environment)
		start, dir := k.snapshot(), t.TempDir()
		created := create(t, k, dir, dpdk)
		for _, w := range created.Plan.Warnings {
			if strings.Contains(w, "irqbalance") {
				t.Errorf("irqbalance was told, and yet: %s", w)
			}
		}
		if len(created.Missed) > 0 {
			t.Errorf("without effect: %v", created.Missed)
		}
		if got, err := k.Read(socket); err != nil || got != test.want {
			t.Errorf("%q became %q, %v, want %q", test.banned, got, err, test.want)
		}
		if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) > 0 {
			t.Errorf("verify: %v, %v", drifts, err)
		}
		back := ""
		k.before = func(_ int, path, value string) error {
			if path == socket {
				back = value
			}
			return nil
		}
		if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
			t.Error(err)
		}
		if back != test.back {
			t.Errorf("from %q it was told %q in the end, want %q", test.banned, back, test.back)
		}
		k.same(t, "after undo", start)
	}
}

// slowBalancer is an irqbalance that acts on a list only after a second.
type slowBalancer struct {
	*kernel
	asked time.Time
}

func (s *slowBalancer) Ask(socket, request string) (string, error) {
	if request != "setup" {
		s.asked = time.Now()
	} else if list, waits := s.told[socket]; waits && time.Since(s.asked) < time.Second {
		delete(s.told, socket)
		defer func() { s.told[socket] = list }()
	}
	return s.kernel.Ask(socket, request)
}

// TestBalancerIsSlow: create waits for a round of irqbalance before it calls its list without effect.
func TestBalancerIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _ := guest(t)
		k.balancer(7, "", "0")
		created, err := NewStore(t.TempDir(), &slowBalancer{kernel: k}, k.files(t)).Create(t.Context(), dpdk)
		if err != nil || len(created.Missed) > 0 {
			t.Errorf("%+v, %v; want all in effect", created, err)
		}
	})
}

// TestBalancerKilled: wherever create is killed, irqbalance has its list in the end,
// also if it takes the other one only then.
func TestBalancerKilled(t *testing.T) {
	synctest.Test(t, testBalancerKilled) // undo waits for rounds
}

func testBalancerKilled(t *testing.T) {
	for _, afterwards := range []bool{false, true} {
		for n := 1; ; n++ {
			k, _ := guest(t)
			k.balancer(7, "1", "1")
			start, dir := k.snapshot(), t.TempDir()
			k.killAt(n, afterwards)
			if !kill(func() {
				create(t, k, dir, Spec{Name: "dpdk", CPUs: "2-3", Partition: None, Skip: []string{"irq-affinity"}})
			}) {
				if n < 5 {
					t.Errorf("only %d changes", n-1)
				}
				break
			}
			k.unharmed()
			if _, err := k.store(t, dir).Recover(t.Context(), false); err != nil {
				t.Fatal(err)
			}
			if _, err := k.Ask("/run/irqbalance/irqbalance7.sock", "setup"); err != nil { // one more round
				t.Fatal(err)
			}
			k.same(t, "after recover", start)
		}
	}
}

// TestBalancerMovesInterrupts: where irqbalance puts an interrupt is its business
// if that is not on an isolated CPU, and a drift if it is.
func TestBalancerMovesInterrupts(t *testing.T) {
	for moved, ours := range map[string]bool{"1": true, "0": true, "3": false} {
		k, _ := guest(t)
		k.balancer(7, "", "0")
		start, dir := k.snapshot(), t.TempDir()
		created := create(t, k, dir, dpdk)
		var irq string
		for _, c := range created.Plan.All() {
			if strings.HasPrefix(c.Path, "/proc/irq/") && c.Kind == (change.List{}) {
				irq = c.Path
			}
		}
		k.add(name(irq), moved)
		drifts, err := verify(t, k, dir, "dpdk")
		if err != nil || (len(drifts) == 0) != ours {
			t.Errorf("on CPU %s: %v, %v", moved, drifts, err)
		}
		err = k.store(t, dir).Undo(t.Context(), "dpdk", false)
		if ours && err != nil || !ours && !errors.Is(err, ErrForeign) {
			t.Errorf("on CPU %s: undo: %v", moved, err)
		}
		if ours {
			k.same(t, "after undo", start)
		}
	}
}

// TestBalancerGone: one that was started again has forgotten all, which verify says
// and undo need not.
func TestBalancerGone(t *testing.T) {
	k, _ := guest(t)
	socket := k.balancer(7, "", "0")
	dir := t.TempDir()
	create(t, k, dir, dpdk)
	delete(k.tree, name(socket))
	v, err := k.store(t, dir).Verify(t.Context(), "dpdk")
	if err != nil || len(v.Drifts) != 1 || !strings.Contains(v.Drifts[0].Suspect, "started again") {
		t.Errorf("verify: %v, %v", v, err)
	}
	if err := k.store(t, dir).Undo(t.Context(), "dpdk", false); err != nil {
		t.Error(err)
	}
}

func TestBalancerDoesNotAnswer(t *testing.T) {
	k, _ := guest(t)
	k.add("run/irqbalance/irqbalance8.sock", "")
	plan, err := New(dpdk, k.files(t))
	if err != nil {
		t.Fatal(err)
	}
	delete(k.tree, "run/irqbalance/irqbalance8.sock")
	view := k.files(t)
	k.add("run/irqbalance/irqbalance8.sock", "")
	if err := finishBalancer(plan.setting(balancerSetting), running{files: k, view: view, cpus: plan.CPUs}); err != nil {
		t.Fatal(err)
	}
	if s := plan.setting(balancerSetting); s.State != Needless || len(s.Changes) > 0 {
		t.Errorf("%+v", s)
	}
}
