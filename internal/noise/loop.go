// SPDX-License-Identifier: Apache-2.0

// Package noise looks for gaps: a loop reads the CPU's time-stamp counter, and
// where two readings are too far apart, something other than the loop ran.
package noise

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// Loop looks for gaps on the thread that runs it.
type Loop struct {
	counter   Counter
	threshold time.Duration
	scale     float64 // nanoseconds of one count
	record    *Record

	canTellCPU bool

	// Yields has an emulator go on to its other CPUs now and then (package emulator). It has
	// no effect on a loop that reads the Clock: no other clock that QEMU emulates can be read
	// in user mode than the one that is the counter.
	Yields bool
	turn   uint32 // readings until it yields

	// Timed gives gaps their times on CLOCK_MONOTONIC, for which the loop reads that
	// clock now and then. Else they are counts of the counter, in nanoseconds.
	Timed     bool
	ahead     time.Duration // of the kernel's clock is the one that the loop reads
	anchor    reading
	certain   uint64 // less lies between the counts of an undisturbed reading at the CPU's first speed
	disturbed int    // readings in a row
	pace      pace   // of the clock, if that is the counter, and of the CPU
}

// CPUCounter is the counter of this architecture's CPUs, trusted or not.
func CPUCounter() Counter { return cpuCounter }

// NewLoop returns a loop that notes gaps of threshold or more in record. It takes
// some 20 ms to compare the counter with the clock.
func NewLoop(c Counter, threshold time.Duration, record *Record) *Loop {
	return &Loop{
		counter: c, threshold: threshold, scale: c.scale(), record: record, canTellCPU: canTellCPU(),
		ahead: clock.Ahead(),
		pace:  pace{slow: slower * c.sample(), speed: newSpeed(c)}, turn: YieldEvery,
	}
}

// anchorEvery is how far apart counter and clock are compared, if there are gaps.
// The kernel steers the clock by up to 500 ppm, so that the time of a gap is
// within some microseconds of the clock's.
const anchorEvery = 10 * time.Millisecond

// Run spins until the record's Stop is called, or until the clock is lost. Its caller has locked the
// goroutine to a thread and the thread to a CPU. Gaps are noted from the record's
// Begin on. It makes no system call, allocates nothing and does not yield to Go's
// scheduler until it ends. The scheduler asks a goroutine that has run for 10 ms to
// yield, and functions look for that when they are called, so that all that are
// called in the loop must be nosplit.
//
// Each interval between two readings is judged, those with the bookkeeping of a
// gap in them as well: no time is left out, and a threshold has to be longer than
// the bookkeeping takes (see [Smallest]).
func (l *Loop) Run() {
	r := l.record
	threshold := uint64(float64(l.threshold) / l.scale)
	compares := l.Timed && l.counter != Clock
	every := uint64(float64(anchorEvery) / l.scale)
	l.spin(l.counter.read(), never, &r.begin)
	if l.Timed {
		l.setAnchor()
	}
	home := l.whereabouts()
	begin := l.counter.read()
	late := l.late(begin)
	r.state.Began = l.clock(begin) - late
	if late > 0 {
		r.note(Gap{At: r.state.Began, Length: late})
	}
	atomic.StoreUint32(&r.began, 1)
	last, stopped := begin, false
	for {
		from, to, samples := l.spin(last, threshold, &r.stop)
		last = to
		r.state.Samples += samples
		if to-from < threshold {
			if stopped {
				break
			}
			stopped = true // a gap may have come after the last reading, and the stop in it
			continue
		}
		if int64(to-from) < 0 {
			r.state.Backwards++
			continue
		}
		if compares && to-l.anchor.count >= every { // before the gap gets its time
			l.compare(l.counter.reading(atGap))
		}
		r.note(Gap{At: l.clock(from), Length: l.duration(to - from)})
		if l.whereabouts() != home {
			atomic.StoreUint32(&r.moved, 1)
		}
		if l.lostClock() || atomic.LoadUint32(&r.stop) != 0 { // spin looks only where there is no gap
			break
		}
	}
	if r.state.LostClock = l.lostClock(); compares && !r.state.LostClock {
		l.compare(l.counter.reading(atEnds))
	}
	r.state.Ran = late + l.duration(last-begin)
	r.state.CPU = currentCPU()
	atomic.StoreUint32(&r.done, 1)
}

// lateFrom is the least that the loop counts as a gap between the record's Begin and its first reading: comparing its counter with the
// clock takes some microseconds.
const lateFrom = time.Millisecond

// late is how long the loop did not have its CPU when it was to begin. A loop that gets it only after its end would else have run for
// an instant without any gap.
func (l *Loop) late(begin uint64) time.Duration {
	at := time.Duration(atomic.LoadInt64(&l.record.begunAt))
	if !l.Timed || at == 0 {
		return 0
	}
	if d := l.clock(begin) - at; d >= max(l.threshold, lateFrom) {
		return d
	}
	return 0
}

// YieldEvery is how many readings a loop that yields makes between two yields.
const YieldEvery = 1 << 12

// YieldLimit is the limit in a report about such loops.
func YieldLimit() string {
	return fmt.Sprintf("this machine is emulated by QEMU, whose other CPUs wait for a loop: it yields to the emulator after %d readings, and what that runs then is a gap of the loop", YieldEvery)
}

// spin reads until there is a gap or the end. A loop on hardware has no use for yielding, and
// PAUSE alone takes as many as 140 cycles there, more than a reading (Intel's optimization
// manual, "Pause Latency in Skylake Client Microarchitecture").
//
//go:nosplit
func (l *Loop) spin(from, threshold uint64, stop *uint32) (last, to, samples uint64) {
	if l.Yields && l.counter != Clock {
		return spinYielding(from, threshold, stop, &l.turn)
	}
	return l.counter.spin(from, threshold, stop, &l.pace)
}

// How often the clock is read to get one reading in which nothing came between it
// and the counter. After a gap the first one waits for memory.
const (
	atEnds = 16
	atGap  = 4
)

// tolerated is how many readings of the clock in a row, at as many gaps, may be
// disturbed.
const tolerated = 100

// slower is how much longer than others a reading of the clock is that has entered
// the kernel.
const slower = 8

// lostClock reports whether reading the clock has begun to enter the kernel, because
// that trusts its counter no longer. Neither does the loop then: it ends.
//
//go:nosplit
func (l *Loop) lostClock() bool { return l.disturbed > tolerated || l.pace.lost() }

func (l *Loop) setAnchor() {
	l.anchor = l.counter.reading(atEnds)
	l.certain = slower * l.anchor.uncertain
}

// never is a threshold that no interval reaches.
const never = ^uint64(0)

//go:nosplit
func (l *Loop) duration(counts uint64) time.Duration {
	return time.Duration(float64(counts) * l.scale)
}

// clock returns the kernel's CLOCK_MONOTONIC when the counter showed count.
//
//go:nosplit
func (l *Loop) clock(count uint64) time.Duration {
	return time.Duration(l.anchor.at) - l.ahead + time.Duration(float64(int64(count-l.anchor.count))*l.scale)
}

// What counter and clock may differ by: how exact the scale is and how fast the
// kernel may steer the clock, with a margin.
const (
	jumpAtLeast = 10 * time.Microsecond
	jumpPart    = 500
)

// compare notes if the counter has been set, or has changed its rate, since the
// last reading of both. One that was disturbed is left to the next gap.
//
//go:nosplit
func (l *Loop) compare(now reading) {
	if l.isDisturbed(now) {
		l.disturbed++
		return
	}
	l.disturbed = 0
	elapsed := time.Duration(now.at - l.anchor.at)
	off := elapsed - l.duration(now.count-l.anchor.count)
	if max(off, -off) > jumpAtLeast+elapsed/jumpPart {
		l.record.state.Jumps++
	}
	l.anchor = now
}

// isDisturbed reports whether a reading of the clock is as slow as if it had entered the kernel,
// and the CPU is not.
//
//go:nosplit
func (l *Loop) isDisturbed(now reading) bool {
	return now.uncertain > l.certain && float64(now.uncertain) > float64(l.certain)*l.pace.speed.slowdown()
}

func currentCPU() int64 {
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 {
		return -1
	}
	return int64(cpu)
}

// How often something is tried to find out how long it takes: in batches, of which the
// shortest counts, because others may have had the CPU in the rest.
const (
	batches = 10
	probed  = 1000
)

func least[T cmp.Ordered](probe func() T) T {
	shortest := probe()
	for range batches - 1 {
		shortest = min(shortest, probe())
	}
	return shortest
}

// sample returns how many counts a reading takes.
func (c Counter) sample() uint64 {
	return least(func() uint64 {
		begin := c.read()
		for range probed {
			c.read()
		}
		return (c.read() - begin) / probed
	})
}

// Smallest returns the shortest threshold that has a meaning, and how long one reading
// takes.
func Smallest(c Counter) (smallest, sample time.Duration) {
	l := NewLoop(c, 0, new(Record))
	l.setAnchor()
	return least(l.bookkeeping), l.duration(c.sample())
}

// bookkeeping runs the loop with a threshold below any interval, so that it has the
// bookkeeping of a gap between all readings, and returns what most intervals are
// shorter than.
func (l *Loop) bookkeeping() time.Duration {
	*l.record = Record{}
	last := l.counter.read()
	for range probed {
		from, to, _ := l.spin(last, 0, &l.record.stop)
		last = to
		l.compare(l.counter.reading(atGap))
		l.record.note(Gap{At: l.clock(from), Length: l.duration(to - from)})
		l.whereabouts()
	}
	return time.Duration(l.record.Histogram().ValueAtQuantile(99))
}
