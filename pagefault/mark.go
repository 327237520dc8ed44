// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Names of files in memory. Mapping one of them is what a watcher sees: the kernel
// records new mappings among the faults, in the order of time and with the thread.
// Programs in other languages can do the same with memfd_create(2) and mmap(2).
const (
	expectNoneName = "taskiso:expect-no-faults"
	expectSomeName = "taskiso:expect-faults"
)

// ExpectNone marks, for a watching program, that the calling thread expects no page
// faults from now on: [Fault].Marked is set from here on. It costs eight system calls and
// should be the last thing before the stretch that matters. Goroutines that
// call it must be locked to their thread ([runtime.LockOSThread]).
//
// The mark needs no watcher and no privileges; without a watcher it does nothing.
// It may be called from any thread.
func ExpectNone() error { return mark(expectNoneName) }

// ExpectSome ends what [ExpectNone] began, for the calling thread.
func ExpectSome() error { return mark(expectSomeName) }

// mark makes two marks. The first one means nothing: it faults in the pages that the
// second one needs.
func mark(name string) error {
	if err := mapNamed("taskiso:mark"); err != nil {
		return err
	}
	return mapNamed(name)
}

func mapNamed(name string) error {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("creating mark %s: %w", name, err)
	}
	defer unix.Close(fd)
	// An empty file can be mapped; nobody touches it.
	m, err := unix.MmapPtr(fd, 0, nil, 1, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mapping mark %s: %w", name, err)
	}
	if err := unix.MunmapPtr(m, 1); err != nil {
		return fmt.Errorf("unmapping mark %s: %w", name, err)
	}
	return nil
}
