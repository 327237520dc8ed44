// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counters counts what perf's software events show of a task and its children.
// They need fewer privileges than tracing: none where kernel.perf_event_paranoid is 2 or less.
type Counters struct {
	events []openCounter
	// Missing has the reason for each event that could not be counted.
	Missing []string
}

type openCounter struct {
	name string
	fd   int
}

// softwareEvents are the events that are counted. Without privileges the kernel must be excluded, and then an event that
// happens in the kernel is not counted.
var softwareEvents = []struct {
	name     string
	config   uint64
	inKernel bool
}{
	{"page-faults-minor", unix.PERF_COUNT_SW_PAGE_FAULTS_MIN, false},
	{"page-faults-major", unix.PERF_COUNT_SW_PAGE_FAULTS_MAJ, false},
	{"context-switches", unix.PERF_COUNT_SW_CONTEXT_SWITCHES, true},
	{"cpu-migrations", unix.PERF_COUNT_SW_CPU_MIGRATIONS, true},
}

// OpenCounters prepares counters that begin when thread tid executes a program.
func OpenCounters(tid int) *Counters {
	c := &Counters{}
	for _, e := range softwareEvents {
		fd, err := openCounterOf(tid, e.config, e.inKernel)
		if err != nil {
			c.Missing = append(c.Missing, fmt.Sprintf("%s are not counted: %v", e.name, err))
			continue
		}
		c.events = append(c.events, openCounter{e.name, fd})
	}
	return c
}

func openCounterOf(tid int, config uint64, inKernel bool) (int, error) {
	attr := unix.PerfEventAttr{
		Type:   unix.PERF_TYPE_SOFTWARE,
		Config: config,
		Size:   uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Bits:   unix.PerfBitDisabled | unix.PerfBitInherit | unix.PerfBitEnableOnExec,
	}
	if !inKernel {
		attr.Bits |= unix.PerfBitExcludeKernel | unix.PerfBitExcludeHv
	}
	fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM) {
		return -1, fmt.Errorf("%w; kernel.perf_event_paranoid is above 1 and this process has no CAP_PERFMON", err)
	}
	return fd, err
}

// Read returns the counts so far.
func (c *Counters) Read() (map[string]uint64, error) {
	counts := make(map[string]uint64, len(c.events))
	for _, e := range c.events {
		var b [8]byte
		if _, err := unix.Read(e.fd, b[:]); err != nil {
			return nil, fmt.Errorf("reading the count of %s: %w", e.name, err)
		}
		counts[e.name] = binary.NativeEndian.Uint64(b[:])
	}
	return counts, nil
}

// Close ends the counting.
func (c *Counters) Close() {
	for _, e := range c.events {
		unix.Close(e.fd)
	}
	c.events = nil
}
