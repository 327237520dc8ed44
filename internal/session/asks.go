// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/trace"
)

// askSeals keep the file as long as it is: threads may write to it, but one who made it shorter would end us by SIGBUS.
const askSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL

// asks are the pages on which threads ask, of all slots.
type asks struct {
	bytes []byte
	fd    int
}

func newAsks() (*asks, error) {
	const size = trace.StatusSlots * abi.PageSize
	fd, err := unix.MemfdCreate("taskiso asks", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("creating a file on which threads ask: %w", err)
	}
	a := &asks{fd: fd}
	if err := unix.Ftruncate(fd, size); err != nil {
		return nil, errors.Join(fmt.Errorf("making room of %d bytes for what threads ask: %w", size, err), a.close())
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, askSeals); err != nil {
		return nil, errors.Join(fmt.Errorf("sealing the file on which threads ask: %w", err), a.close())
	}
	if a.bytes, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, errors.Join(fmt.Errorf("mapping the file on which threads ask: %w", err), a.close())
	}
	return a, nil
}

func (a *asks) close() error {
	unix.Close(a.fd)
	if a.bytes == nil {
		return nil
	}
	return unix.Munmap(a.bytes)
}

// take returns what a slot asks for, once; 0 for nothing.
func (a *asks) take(slot int) uint32 {
	ask := &(*abi.Ask)(unsafe.Pointer(&a.bytes[slot*abi.PageSize])).Snapshot
	if atomic.LoadUint32(ask) == 0 {
		return 0 // without taking the cache line away from the thread
	}
	return atomic.SwapUint32(ask, 0)
}

// Ask is a thread that asks for a snapshot, with a number of its own choice.
type Ask struct{ TID, ID uint32 }

// Asks returns the threads that have asked since the last call. It makes no system call.
func (s *Supervisor) Asks() (all []Ask) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.slots {
		if s.slots[i].tid == 0 {
			continue
		}
		if id := s.asks.take(i); id != 0 {
			all = append(all, Ask{s.slots[i].tid, id})
		}
	}
	return all
}
