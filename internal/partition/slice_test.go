// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

// underSystemdKernel is a machine whose first process is systemd.
func underSystemdKernel(t *testing.T) *kernel {
	t.Helper()
	k, _ := guest(t)
	k.add("run/systemd/private", "")
	return k
}

const guestSlice = "/sys/fs/cgroup/taskiso_dpdk.slice"

// TestSlice: the cgroup is systemd's; who runs in it is not ended; and another list
// that somebody gave it is foreign.
func TestSlice(t *testing.T) {
	k := underSystemdKernel(t)
	start, dir := k.snapshot(), t.TempDir()
	create(t, k, dir, dpdk)
	if got, err := k.Read(guestSlice + "/cpuset.cpus.partition"); err != nil || got != "isolated" {
		t.Errorf("the partition is %q, %v", got, err)
	}
	if drifts, err := verify(t, k, dir, "dpdk"); err != nil || len(drifts) > 0 {
		t.Errorf("verify: %v, %v", drifts, err)
	}
	undo := func() error { return k.store(t, dir).Undo(t.Context(), "dpdk", false) }
	k.add(name(guestSlice)+"/cgroup.procs", "12")
	if err := undo(); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "12") {
		t.Errorf("with a process in it: %v, want ErrBusy", err)
	}
	k.add(name(guestSlice)+"/cgroup.procs", "")
	k.add(name(guestSlice)+"/cpuset.cpus", "3")
	if err := undo(); !errors.Is(err, ErrForeign) {
		t.Errorf("with other CPUs: %v, want ErrForeign", err)
	}
	k.add(name(guestSlice)+"/cpuset.cpus", "2-3")
	k.add(name(guestSlice)+"/cgroup.events", "populated 1\nfrozen 0")
	if err := undo(); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "systemctl status 'taskiso_dpdk.slice'") {
		t.Errorf("with a service in it: %v, want ErrBusy", err)
	}
	k.add(name(guestSlice)+"/cgroup.events", "populated 0\nfrozen 0")
	if err := undo(); err != nil {
		t.Error(err)
	}
	k.same(t, "after undo", start)
}

// TestSliceKilled: also if systemd makes the slice only after the process has died.
func TestSliceKilled(t *testing.T) {
	for _, afterwards := range []bool{false, true} {
		for n := 1; ; n++ {
			k := underSystemdKernel(t)
			start, dir := k.snapshot(), t.TempDir()
			k.killAt(n, afterwards)
			if !kill(func() { create(t, k, dir, Spec{Name: "dpdk", CPUs: "2-3", Skip: []string{"irq-affinity"}}) }) {
				break
			}
			k.unharmed()
			if _, err := k.store(t, dir).Recover(t.Context(), false); err != nil {
				t.Fatalf("killed at change %d: %v", n, err)
			}
			k.makeSlices()
			k.same(t, "after recover", start)
		}
	}
}

// TestSliceRefused: one that systemd does not make is an error, and all else undone.
func TestSliceRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, refuses := range []bool{true, false} {
			k := underSystemdKernel(t)
			start := k.snapshot()
			k.before = func(_ int, path, _ string) error {
				if path == guestSlice && refuses {
					return errors.New("unknown property AllowedCPUs")
				}
				return nil
			}
			k.after = func(_ int, path string) {
				if path == guestSlice {
					clear(k.asked) // it says that it will, and then does not
				}
			}
			want := "systemd has not done"
			if refuses {
				want = "unknown property AllowedCPUs; --partition none does without it"
			}
			if _, err := k.store(t, t.TempDir()).Create(t.Context(), dpdk); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			k.same(t, "after a failed create", start)
		}
	})
}
