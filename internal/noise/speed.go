// SPDX-License-Identifier: Apache-2.0

package noise

// speed measures how slow the CPU has become. On a virtual machine whose host was busy, every
// reading of the clock, and of the TSC alone, took twelve times as long for seconds: only
// arithmetic that takes as much longer distinguishes such a reading from one that has
// entered the kernel.
type speed struct {
	counter Counter
	first   uint64 // counts that the arithmetic took at first
}

// newSpeed takes the present speed for the first.
func newSpeed(c Counter) speed { return speed{counter: c, first: least(c.arithmetic)} }

// slowdown returns how many times as long as at first arithmetic takes, and 1 if it does not
// take longer. It costs some microseconds, which are in the loop's next interval.
//
//go:nosplit
func (s *speed) slowdown() float64 {
	return max(1, float64(s.counter.arithmetic())/float64(s.first))
}

// multiplied is long enough that one reading which enters the kernel in each measurement, be it
// of HPET, makes that little longer.
const multiplied = 5000

// arithmetic returns how many counts multiplications take of which each waits for the one
// before.
//
//go:nosplit
func (c Counter) arithmetic() uint64 {
	before := c.read()
	x := before | 1
	for range multiplied {
		x *= 6364136223846793005 // odd, as x is: it never becomes 0
	}
	if x == 0 {
		return 0
	}
	return c.read() - before
}
