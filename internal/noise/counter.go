// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// Counter is what a loop reads.
type Counter string

const (
	// TSC is the time-stamp counter of amd64.
	TSC Counter = "TSC"
	// CNTVCT is the virtual counter of arm64.
	CNTVCT Counter = "CNTVCT"
	// Clock is CLOCK_MONOTONIC through the vDSO.
	Clock Counter = "CLOCK_MONOTONIC"
)

// errNoClock means that the loop could not read the time without being interrupted.
var errNoClock = errors.New("no clock can be read without entering the kernel")

// ChooseCounter returns the CPU's counter if this kernel trusts it, and else the
// clock. why is what speaks against the counter, if anything does. A kernel whose
// clock is the TSC trusts it, whatever the CPU promises: that clock is the same
// counter, only slower to read. Where the kernel has to be asked for the time there is
// no use in the loop: that is an error.
func ChooseCounter(files fs.FS) (c Counter, why string, err error) {
	if cpuCounter == Clock {
		return Clock, "this architecture has no counter that taskiso knows", nil
	}
	if cpuCounter != TSC {
		return cpuCounter, "", nil // the architecture defines it to run steadily
	}
	source, why, err := distrusted(files)
	switch {
	case err != nil:
		return "", "", err
	case !readsInUserMode(source):
		return "", "", fmt.Errorf("%w: the kernel's clock source is %s%s", errNoClock, source, remedy(why))
	case why != "" && source != "tsc":
		return Clock, why, nil
	}
	return TSC, why, nil
}

func remedy(why string) string {
	if why != "" {
		return ", and " + why
	}
	return "; echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource changes that"
}

// readsInUserMode reports whether the vDSO can read a clock source
// (VDSO_CLOCKMODE_* in arch/x86/include/asm/vdso/clocksource.h).
func readsInUserMode(source string) bool {
	return source == "tsc" || source == "kvm-clock" || source == "hyperv_clocksource_tsc_page"
}

// distrusted returns the clock source in use, and what speaks against the TSC, or "".
func distrusted(files fs.FS) (current, why string, err error) {
	flags, err := cpuFlags(files)
	if err != nil {
		return "", "", err
	}
	sources, err := words(files, "current_clocksource")
	if err != nil {
		return "", "", err
	}
	current = strings.Join(sources, " ")
	available, err := words(files, "available_clocksource")
	if err != nil {
		return "", "", err
	}
	for _, flag := range []string{"constant_tsc", "nonstop_tsc"} {
		if !slices.Contains(flags, flag) {
			return current, "the CPU's TSC is not " + flag, nil
		}
	}
	// The kernel does not list a counter that its watchdog found unstable, or that tsc=unstable declares so.
	if !slices.Contains(available, "tsc") {
		return current, "the kernel calls the TSC unstable", nil
	}
	return current, "", nil
}

func words(files fs.FS, name string) ([]string, error) {
	text, err := fs.ReadFile(files, "sys/devices/system/clocksource/clocksource0/"+name)
	if err != nil {
		return nil, fmt.Errorf("finding out which clock the kernel trusts: %w", err)
	}
	return strings.Fields(string(text)), nil
}

func cpuFlags(files fs.FS) ([]string, error) {
	f, err := files.Open("proc/cpuinfo")
	if err != nil {
		return nil, fmt.Errorf("finding out about the TSC: %w", err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, flags, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "flags" {
			return strings.Fields(flags), nil
		}
	}
	return nil, errors.New("finding out about the TSC: no flags in /proc/cpuinfo")
}

//go:nosplit
func (c Counter) read() uint64 {
	if c == Clock {
		return readClock()
	}
	return counter()
}

//go:nosplit
func (c Counter) spin(from, threshold uint64, stop *uint32, p *pace) (last, to, samples uint64) {
	if c == Clock {
		return spinClock(from, threshold, stop, p)
	}
	return spin(from, threshold, stop)
}

// calibration is how long the counter is compared with the clock beforehand.
const calibration = 20 * time.Millisecond

// scale returns the nanoseconds of one count.
func (c Counter) scale() float64 {
	if c == Clock {
		return 1
	}
	begin := c.reading(atEnds)
	for readClock()-begin.at < uint64(calibration) {
	}
	end := c.reading(atEnds)
	return float64(end.at-begin.at) / float64(end.count-begin.count)
}

// reading is the clock and the counter at the same time, to within uncertain
// counts.
type reading struct{ at, count, uncertain uint64 }

// reading returns the best of n.
//
//go:nosplit
func (c Counter) reading(n int) reading {
	best := c.readOnce()
	for range n - 1 {
		if r := c.readOnce(); r.uncertain < best.uncertain {
			best = r
		}
	}
	return best
}

//go:nosplit
func (c Counter) readOnce() reading {
	before := c.read()
	at := readClock()
	between := c.read() - before
	return reading{at, before + between/2, between}
}
