// SPDX-License-Identifier: Apache-2.0

package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/trace"
)

// A story is what becomes known of a break after the thread was told: struct
// taskiso_story in include/taskiso/taskiso.h, a contract. It is valid while seq is
// even. Each has a page of its own, so that a thread can map only what concerns it.
//
//	 0  u32 seq    odd while it is written
//	 8  u64 time   when it was recorded: not before the time in the status page,
//	               and before that of the next break
//	16  char id[64]      in the catalogue, ends with NUL
//	80  char text[1024]  for people, ends with NUL
const (
	storyTime = 8
	storyID   = 16
	storyText = 80
	storyEnd  = storyText + 1024
	storySize = trace.StatusSize
)

// stories are those of all slots. Its methods are not safe for concurrent use.
type stories struct {
	bytes []byte
	fd    int // for reading only
}

func newStories() (*stories, error) {
	const size = trace.StatusSlots * storySize
	fd, err := unix.MemfdCreate("taskiso stories", unix.MFD_CLOEXEC)
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

// tell writes the story of a slot.
func (s *stories) tell(slot int, at time.Duration, id, text string) {
	page := s.bytes[slot*storySize : (slot+1)*storySize]
	seq := (*atomic.Uint32)(unsafe.Pointer(unsafe.SliceData(page)))
	seq.Add(1)
	binary.NativeEndian.PutUint64(page[storyTime:], uint64(at))
	putString(page[storyID:storyText], id)
	putString(page[storyText:storyEnd], text)
	seq.Add(1)
}

// putString writes s with a NUL at its end, shortened if need be.
func putString(b []byte, s string) {
	n := copy(b[:len(b)-1], s)
	clear(b[n:])
}
