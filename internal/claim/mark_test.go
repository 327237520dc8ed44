// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// prefix is one that no other process has.
func prefix(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("BPF maps need privileges")
	}
	return fmt.Sprintf("t%d_", os.Getpid())
}

func TestEverywhere(t *testing.T) {
	prefix, files := prefix(t), os.DirFS("/")
	release, err := Everywhere(files, prefix, cpus(1, 8191))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("reserving CPU 8191: taskiso process %d is using it; name another CPU with -c, or wait until it ends", os.Getpid())
	for range 2 { // none of several is kept when one is in use
		if _, err := Everywhere(files, prefix, cpus(2, 8191)); !errors.Is(err, ErrInUse) || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	two, err := Everywhere(files, prefix, cpus(2))
	if err != nil {
		t.Fatalf("CPU 2, refused before for CPU 8191: %v", err)
	}
	two()
	if _, err := Everywhere(fstest.MapFS{}, prefix, cpus(1)); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "CPU 1: taskiso in another container") {
		t.Errorf("error %v where its process is not seen, want one that says so", err)
	}
	release()
	again, err := Everywhere(files, prefix, cpus(1, 2, 8191))
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again()
}

// A map that anybody may make is not a mark.
func TestMarkIsNotForged(t *testing.T) {
	prefix := prefix(t)
	m, err := ebpf.NewMap(&ebpf.MapSpec{Name: prefix + "1", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	release, err := Everywhere(os.DirFS("/"), prefix, cpus(1))
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// Who may not list marks makes some all the same.
func TestMarkWithFewerPrivileges(t *testing.T) {
	prefix, files := prefix(t), os.DirFS("/")
	for _, tc := range []struct {
		drop uint
		want string
		seen bool
	}{
		{unix.CAP_SYS_ADMIN, "listing BPF maps: operation not permitted", true},
		{unix.CAP_BPF, "making a BPF map: operation not permitted", false},
	} {
		release, err := everywhereWithout(t, tc.drop, prefix)
		if err == nil || err.Error() != tc.want {
			t.Errorf("error %v, want %s", err, tc.want)
		}
		if own, err := Everywhere(files, prefix, cpus(1)); errors.Is(err, ErrInUse) != tc.seen {
			t.Errorf("after %q: error %v", tc.want, err)
		} else if err == nil {
			own()
		}
		release()
	}
}

// everywhereWithout claims CPU 1 in a thread that lacks a capability. CAP_SYS_ADMIN includes CAP_BPF.
func everywhereWithout(t *testing.T, drop uint, prefix string) (release func(), err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err = unix.Capget(&header, &data[0]); err != nil {
			return
		}
		data[drop/32].Effective &^= 1 << (drop % 32)
		if drop == unix.CAP_BPF {
			data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
		}
		if err = unix.Capset(&header, &data[0]); err != nil {
			return
		}
		release, err = Everywhere(os.DirFS("/"), prefix, cpus(1))
	}()
	<-done
	return release, err
}

// Of many who begin at the same time, with CPUs in common, exactly one gets them.
func TestMarksAtTheSameTime(t *testing.T) {
	prefix, files := prefix(t), os.DirFS("/")
	for range 50 {
		got := make(chan func(), 4)
		for range cap(got) {
			go func() {
				release, err := Everywhere(files, prefix, cpus(1, 2, 3))
				if err != nil && !errors.Is(err, ErrInUse) {
					t.Error(err)
				}
				got <- release
			}()
		}
		var releases []func()
		for range cap(got) {
			if release := <-got; release != nil {
				releases = append(releases, release)
			}
		}
		if len(releases) != 1 {
			t.Errorf("%d have the CPUs, want 1", len(releases))
		}
		for _, release := range releases {
			release()
		}
	}
}
