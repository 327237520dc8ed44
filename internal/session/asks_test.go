// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/clock"
)

// A thread asks on the page of its slot, and is heard once.
func TestAsks(t *testing.T) {
	f := newFixture(t)
	if got := f.call(100, 48, abi.Asks); got.fd <= 0 {
		t.Fatalf("%+v", got)
	}
	pages, err := unix.Mmap(f.asks.fd, 0, 8*abi.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(pages)
	ask := func(slot int, id uint32) { (*abi.Ask)(unsafe.Pointer(&pages[slot*abi.PageSize])).Snapshot = id }
	ask(0, 42)
	ask(7, 43) // nobody's
	if got := f.Asks(); !slices.Equal(got, []Ask{{100, 42}}) {
		t.Errorf("%+v", got)
	}
	if got := f.Asks(); got != nil {
		t.Errorf("again: %+v", got)
	}
	f.Ended(100, clock.Now())
	ask(0, 44)
	if got := f.Asks(); got != nil {
		t.Errorf("of a thread that has ended: %+v", got)
	}
}

// Whoever can write to the pages cannot take them away from the supervisor.
func TestAsksCannotBeTakenAway(t *testing.T) {
	f := newFixture(t)
	f.call(100, 48, abi.Slot)
	fd := f.asks.fd
	for name, attack := range map[string]func() error{
		"truncate":  func() error { return unix.Ftruncate(fd, 0) },
		"grow":      func() error { return unix.Ftruncate(fd, 1<<30) },
		"add seals": func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); return err },
	} {
		if attack() == nil {
			t.Errorf("%s succeeds", name)
		}
	}
	if err := unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096); err != nil {
		t.Error(err)
	}
	if got := f.Asks(); got != nil { // would end this process by SIGBUS in a file that was truncated
		t.Errorf("%+v", got)
	}
}
