// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PrefaultOptions select what to bring into memory.
type PrefaultOptions struct {
	// Lock locks all memory of the process, also what will be mapped later, so
	// that it is neither written to swap nor dropped: mlockall(2). For others than
	// root it is limited by RLIMIT_MEMLOCK. The Go runtime reserves memory in
	// pieces of 64 MiB, which count although they are not used yet.
	Lock bool
	// Memory is brought in as if it were written to, with its contents: shared
	// pages after fork, the zero page and file pages of private mappings are copied.
	Memory [][]byte
	// Read is brought in as if it were read.
	Read [][]byte
	// HugePages asks for huge pages for Memory.
	HugePages bool
	// Stack is how many bytes the stack of this goroutine is to have. C code has a
	// stack of the thread instead: see taskiso/prefault.h.
	Stack int
}

// PrefaultReport lists what is in memory and what is not, after [Prefault].
type PrefaultReport struct {
	Locked  uint64 // bytes
	Missing []Missing
	// Refused is why something was not done; the rest was done all the same.
	Refused []error
}

// Missing is a mapping with a part that is not in memory.
type Missing struct {
	Mapping Mapping
	Bytes   uint64 // that are not there
	Reason  string
}

// Prefault brings memory of this process in before the time that matters, and
// reports what could not be had and why. Call it when everything is allocated. A Go
// program that shall not fault afterwards must also keep the runtime from
// allocating and collecting: [runtime/debug.SetGCPercent] with -1 and no new garbage.
//
// The error is nil if there is a report.
func Prefault(o PrefaultOptions) (PrefaultReport, error) {
	var r PrefaultReport
	if o.Lock {
		r.refuse("locking all memory", unix.Mlockall(unix.MCL_CURRENT|unix.MCL_FUTURE))
	}
	for _, b := range o.Memory {
		if o.HugePages {
			r.refuse("asking for huge pages", advise(b, unix.MADV_HUGEPAGE))
		}
		r.refuse("writing", advise(b, unix.MADV_POPULATE_WRITE))
	}
	for _, b := range o.Read {
		r.refuse("reading", advise(b, unix.MADV_POPULATE_READ))
	}
	if o.Stack > 0 {
		growStack(o.Stack)
	}
	return r, r.survey()
}

func (r *PrefaultReport) refuse(doing string, err error) {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOMEM) {
		var limit unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit)
		err = fmt.Errorf("%w: RLIMIT_MEMLOCK (ulimit -l) is %d bytes, or memory is short; CAP_IPC_LOCK lifts the limit", err, limit.Cur)
	}
	if err != nil {
		r.Refused = append(r.Refused, fmt.Errorf("prefaulting: %s: %w", doing, err))
	}
}

// advise calls madvise(2) for the pages that b is on.
func advise(b []byte, advice int) error {
	if len(b) == 0 {
		return ErrEmptyRange
	}
	start := uintptr(unsafe.Pointer(&b[0]))
	from := start &^ uintptr(os.Getpagesize()-1)
	_, _, errno := unix.Syscall(unix.SYS_MADVISE, from, start+uintptr(len(b))-from, uintptr(advice))
	if errno == unix.EINVAL {
		return fmt.Errorf("advice %d: %w", advice, ErrNotSupported) // MADV_POPULATE_* came with 5.14
	}
	if errno != 0 {
		return errno
	}
	return nil
}

// growStack uses so many bytes of stack. The runtime keeps them until a garbage
// collection finds that less than a quarter is in use.
//
//go:noinline
func growStack(bytes int) byte {
	var frame [4096]byte
	frame[bytes%len(frame)] = 1
	if bytes <= len(frame) {
		return frame[0]
	}
	return growStack(bytes-len(frame)) + frame[1]
}

func (r *PrefaultReport) survey() error {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return fmt.Errorf("looking for what is in memory: %w", err)
	}
	defer f.Close()
	return r.readSmaps(f)
}

// readSmaps reads /proc/PID/smaps: for each mapping its line of /proc/PID/maps and
// then lines of sizes; VmFlags is the last one.
func (r *PrefaultReport) readSmaps(in io.Reader) error {
	var m Mapping
	sizes := make(map[string]uint64)
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		key, value, isField := strings.Cut(lines.Text(), ":")
		switch {
		case key == "VmFlags":
			r.add(m, sizes, strings.Fields(value))
			clear(sizes)
		case isField && !strings.Contains(key, " "):
			kb, _ := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // others are not sizes
			sizes[key] = kb << 10
		default:
			var err error
			if m, err = parseMapping(lines.Text()); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading what is in memory: %w", err)
	}
	return nil
}

func (r *PrefaultReport) add(m Mapping, sizes map[string]uint64, flags []string) {
	r.Locked += sizes["Locked"]
	if sizes["Size"] > sizes["Rss"] {
		r.Missing = append(r.Missing, Missing{m, sizes["Size"] - sizes["Rss"], r.reason(m, flags)})
	}
}

// reason returns why a mapping is not in memory, by its flags, which are listed in
// Documentation/filesystems/proc.rst.
func (r *PrefaultReport) reason(m Mapping, flags []string) string {
	has := func(flag string) bool {
		for _, f := range flags {
			if f == flag {
				return true
			}
		}
		return false
	}
	switch {
	case m.Protection == "---":
		return "no access is allowed: reserved, and no memory yet"
	case m.Kind == Special:
		return "belongs to the kernel"
	case has("io"), has("pf"):
		return "device memory, which its driver maps"
	case has("lo"):
		return "locked, but beyond the end of its file, or it was not there when it was locked"
	case len(r.Refused) > 0:
		return "not locked: the request was refused"
	}
	return "nobody has asked for it"
}
