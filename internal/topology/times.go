// SPDX-License-Identifier: Apache-2.0

package topology

import (
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

// CPUTimes is what a CPU has spent its time on since boot, in steps of 10 ms:
// the kernel counts in nanoseconds and reports in units of 1/USER_HZ, which is
// 1/100 s on all architectures we build for (include/asm-generic/param.h).
type CPUTimes struct {
	User, Nice, System time.Duration // User and Nice contain Guest and GuestNice
	Idle, IOWait       time.Duration // IOWait may go down between two readings
	IRQ, Softirq       time.Duration
	Steal              time.Duration // wanted to run, but the hypervisor ran something else
	Guest, GuestNice   time.Duration
}

// userTick is 1/USER_HZ.
const userTick = 10 * time.Millisecond

// Times reads the times of every online CPU from /proc/stat.
func Times(fsys fs.FS) (map[int]CPUTimes, error) {
	text, err := fs.ReadFile(fsys, "proc/stat")
	if err != nil {
		return nil, fmt.Errorf("reading CPU times: %w", err)
	}
	times, err := parseTimes(string(text))
	if err != nil {
		return nil, fmt.Errorf("reading CPU times from /proc/stat: %w", err)
	}
	return times, nil
}

// Sub returns the time spent since the earlier reading.
func (t CPUTimes) Sub(earlier CPUTimes) CPUTimes {
	fields, old := t.fields(), earlier.fields()
	for i := range fields {
		*fields[i] -= *old[i]
	}
	return t
}

// fields lists the times in the order of /proc/stat.
func (t *CPUTimes) fields() [10]*time.Duration {
	return [10]*time.Duration{
		&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait, &t.IRQ, &t.Softirq, &t.Steal, &t.Guest, &t.GuestNice,
	}
}

func parseTimes(text string) (map[int]CPUTimes, error) {
	times := map[int]CPUTimes{}
	for line := range strings.SplitSeq(text, "\n") {
		name, rest, _ := strings.Cut(line, " ")
		cpu, ok := numberAfter(name, "cpu")
		if !ok {
			continue // the sum of all CPUs, or another statistic
		}
		t, err := parseTimesLine(strings.Fields(rest))
		if err != nil || cpu > cpulist.MaxCPU {
			return nil, fmt.Errorf("line %.80q: %w", line, ErrFormat)
		}
		times[cpu] = t
	}
	if len(times) == 0 {
		return nil, fmt.Errorf("no line for any CPU: %w", ErrFormat)
	}
	return times, nil
}

// parseTimesLine ignores what newer kernels may add at the end.
func parseTimesLine(values []string) (CPUTimes, error) {
	var t CPUTimes
	fields := t.fields()
	if len(values) < len(fields) {
		return CPUTimes{}, ErrFormat
	}
	for i, field := range fields {
		ticks, err := strconv.ParseUint(values[i], 10, 63)
		if err != nil || ticks > math.MaxInt64/uint64(userTick) {
			return CPUTimes{}, ErrFormat
		}
		*field = time.Duration(ticks) * userTick
	}
	return t, nil
}
