// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is the buffer that the kernel writes records of one or more events to
// (perf_event_open(2), "MMAP layout"): one page with positions, then the data.
type ring struct {
	memory []byte
	page   *unix.PerfEventMmapPage
	data   []byte // a power of two long
	copied []byte // of the last drain
}

// newRing maps a buffer of size bytes, a power of two of pages, for the event.
func newRing(fd, size int) (*ring, error) {
	memory, err := unix.Mmap(fd, 0, os.Getpagesize()+size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping a buffer of %d bytes: %w", size, err)
	}
	return &ring{
		memory: memory,
		page:   (*unix.PerfEventMmapPage)(unsafe.Pointer(&memory[0])),
		data:   memory[os.Getpagesize():],
	}, nil
}

// newRingAtMost maps the largest buffer up to size that the user may have locked
// in memory. The kernel counts buffers of all perf users of this user together.
func newRingAtMost(fd, size int) (*ring, error) {
	for {
		r, err := newRing(fd, size)
		if err == nil || !errors.Is(err, unix.EPERM) {
			return r, err
		}
		if size <= os.Getpagesize() {
			return nil, fmt.Errorf("%w: %w: the sysctl kernel.perf_event_mlock_kb is used up by this user's other perf events: raise it, or RLIMIT_MEMLOCK, or use CAP_IPC_LOCK", err, ErrNotPermitted)
		}
		size /= 2
	}
}

// bufferSize rounds up to a power of two of pages.
func bufferSize(want int) int {
	size := os.Getpagesize()
	for size < want && size < 1<<30 {
		size *= 2
	}
	return size
}

// drain returns all complete records, valid until the next call, and gives their
// room back to the kernel.
func (r *ring) drain() []byte {
	// The kernel writes data before the head, and reads the tail before data:
	// the two sides of perf_output_put_handle in kernel/events/ring_buffer.c.
	head := atomic.LoadUint64(&r.page.Data_head)
	tail := r.page.Data_tail
	r.copied = r.copied[:0]
	for tail < head {
		part := r.data[tail&uint64(len(r.data)-1):]
		part = part[:min(uint64(len(part)), head-tail)]
		r.copied = append(r.copied, part...)
		tail += uint64(len(part))
	}
	atomic.StoreUint64(&r.page.Data_tail, tail)
	return r.copied
}

func (r *ring) close() error {
	if err := unix.Munmap(r.memory); err != nil {
		return fmt.Errorf("unmapping a buffer: %w", err)
	}
	return nil
}
