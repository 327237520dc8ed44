// SPDX-License-Identifier: Apache-2.0

package deferral

import (
	"errors"
	"fmt"
	"math"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is the memory of a domain and the file behind it, if there is one.
//
// The kernel knows which owners are alive, not we: the owner of slot n holds
// an open-file-description lock on byte n of the file, peer n one on byte
// peerByte+n. The kernel drops them when a process ends, however it ends; no
// process id is stored that could be reused or forged.
type region struct {
	bytes []byte
	fd    int // -1: private memory of this process
}

const (
	peerByte = 1 << 16
	maxPeers = 64
)

// privateRegion lies on the Go heap, where the race detector sees it.
func privateRegion(size int) region {
	const align = 128
	words := make([]uint64, (size+align)/8)
	all := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(words)*8)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(all))) & (align - 1)
	return region{bytes: all[skip : int(skip)+size : int(skip)+size], fd: -1}
}

func createRegion(name string, size int, huge bool) (region, error) {
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	if huge {
		flags |= unix.MFD_HUGETLB
		size = pad(size, hugePageSize)
	}
	fd, err := unix.MemfdCreate(name, flags)
	if err != nil {
		return region{}, fmt.Errorf("creating memfd %q: %w", name, err)
	}
	r, err := fill(fd, size)
	if err != nil {
		unix.Close(fd)
		return region{}, err
	}
	return r, nil
}

// hugePageSize is what MFD_HUGETLB without a size uses on x86-64 and on arm64
// with 4 KiB pages; larger defaults make ftruncate fail, which is reported.
const hugePageSize = 2 << 20

func fill(fd, size int) (region, error) {
	if err := unix.Ftruncate(fd, int64(size)); err != nil {
		return region{}, fmt.Errorf("setting size %d of the shared memory: %w", size, err)
	}
	// A peer that shrinks the file would kill every other one with SIGBUS.
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, needSeals); err != nil {
		return region{}, fmt.Errorf("sealing the shared memory: %w", err)
	}
	return mapRegion(fd, size)
}

const needSeals = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW

func openRegion(fd int) (region, error) {
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil {
		return region{}, fmt.Errorf("%w: reading the seals of fd %d: %w", ErrNotSealed, fd, err)
	}
	if seals&needSeals != needSeals {
		return region{}, fmt.Errorf("%w: seals %#x", ErrNotSealed, seals)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return region{}, fmt.Errorf("reading the size of fd %d: %w", fd, err)
	}
	if st.Size < headerSize || st.Size > min(maxRegion+hugePageSize, math.MaxInt) {
		return region{}, fmt.Errorf("%w: file of %d bytes", ErrLayout, st.Size)
	}
	own, err := reopen(fd)
	if err != nil {
		return region{}, err
	}
	r, err := mapRegion(own, int(st.Size))
	if err != nil {
		unix.Close(own)
	}
	return r, err
}

func mapRegion(fd, size int) (region, error) {
	b, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return region{}, fmt.Errorf("mapping %d bytes of shared memory: %w", size, err)
	}
	return region{bytes: b, fd: fd}, nil
}

func (r region) close() error {
	if r.fd < 0 {
		return nil
	}
	return errors.Join(unix.Munmap(r.bytes), unix.Close(r.fd))
}

// reopen returns a new open file description: locks of one description never
// conflict with each other, so every owner and every handle needs its own.
func reopen(fd int) (int, error) {
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	own, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("opening %s (is /proc mounted, and the memory writable for this user?): %w", path, &os.PathError{Op: "open", Path: path, Err: err})
	}
	return own, nil
}

// tryLock takes the lock of one byte for this description, or reports false.
func tryLock(fd int, at int64) (bool, error) {
	err := setLock(fd, at, unix.F_WRLCK)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return false, nil
	}
	return err == nil, err
}

func unlock(fd int, at int64) error { return setLock(fd, at, unix.F_UNLCK) }

func setLock(fd int, at int64, kind int16) error {
	lock := unix.Flock_t{Type: kind, Start: at, Len: 1}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &lock); err != nil {
		return fmt.Errorf("locking byte %d of the shared memory: %w", at, err)
	}
	return nil
}

// locked reports whether another description holds the lock of one byte.
func locked(fd int, at int64) (bool, error) {
	lock := unix.Flock_t{Type: unix.F_WRLCK, Start: at, Len: 1}
	if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_GETLK, &lock); err != nil {
		return false, fmt.Errorf("reading the lock of byte %d of the shared memory: %w", at, err)
	}
	return lock.Type != unix.F_UNLCK, nil
}
