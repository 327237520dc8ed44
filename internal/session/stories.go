// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/trace"
)

// storySeals keep the file as it is, however a command opens it: a descriptor for
// reading only can be opened again for writing through /proc/self/fd. Our mapping
// is older than the seals, and the only one that can ever be written to. They need
// Linux 5.1 (ab3948f58ff8).
const storySeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_FUTURE_WRITE | unix.F_SEAL_SEAL

// stories are those of all slots. Its methods are not safe for concurrent use.
type stories struct {
	bytes []byte
	seqs  [trace.StatusSlots]uint32 // the Seq of each story; it is not read back, because the memory is shared
	fd    int                       // for reading only
}

func newStories() (*stories, error) {
	const size = trace.StatusSlots * abi.PageSize
	fd, err := unix.MemfdCreate("taskiso stories", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("creating a file for stories: %w", err)
	}
	defer unix.Close(fd)
	s := &stories{fd: -1}
	if err := unix.Ftruncate(fd, size); err != nil {
		return nil, fmt.Errorf("making room of %d bytes for stories: %w", size, err)
	}
	if s.bytes, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("mapping the stories: %w", err)
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, storySeals); err != nil {
		return nil, errors.Join(fmt.Errorf("sealing the stories, which takes Linux 5.1 or newer: %w", err), s.close())
	}
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	if s.fd, err = unix.Open(path, os.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the stories for reading: %w", err), s.close())
	}
	return s, nil
}

func (s *stories) close() error {
	if s.fd >= 0 {
		unix.Close(s.fd)
	}
	return unix.Munmap(s.bytes)
}

// write writes the story of a slot.
func (s *stories) write(slot int, at time.Duration, id, text string) {
	story := s.at(slot)
	atomic.StoreUint32(&story.Seq, s.seqs[slot]+1)
	story.Time = uint64(at)
	putString(story.ID[:], id)
	putString(story.Text[:], text)
	s.seqs[slot] += 2
	atomic.StoreUint32(&story.Seq, s.seqs[slot])
}

func (s *stories) at(slot int) *abi.Story {
	return (*abi.Story)(unsafe.Pointer(&s.bytes[slot*abi.PageSize]))
}

// putString writes s with a NUL at its end, shortened if need be.
func putString(b []byte, s string) {
	n := copy(b[:len(b)-1], s)
	clear(b[n:])
}
