// SPDX-License-Identifier: Apache-2.0

package cpulist

import (
	"fmt"
	"iter"
	"math/bits"
)

// MaxCPU is the highest CPU number a [Set] can hold. No kernel for x86-64 or
// arm64 can be built for more CPUs: NR_CPUS ends at 8192 in arch/x86/Kconfig
// (NR_CPUS_RANGE_END with CPUMASK_OFFSTACK), at 4096 in arch/arm64/Kconfig.
const MaxCPU = 8191

// Set is an immutable set of CPU numbers between 0 and [MaxCPU].
//
// The zero value is the empty set. Sets with the same members are equal under
// ==. All methods may be called from several goroutines at once.
type Set struct {
	// One bit per CPU, lowest CPU in the lowest bit of the first byte, without
	// zero bytes at the end. A string, because the language then guarantees
	// immutability and makes equal sets compare equal.
	bits string
}

// New returns the set of the given CPUs, in any order and with any repetition.
// The error matches [ErrRange] if a number is negative or above [MaxCPU].
func New(cpus ...int) (Set, error) {
	var b builder
	for _, cpu := range cpus {
		if cpu < 0 || cpu > MaxCPU {
			return Set{}, fmt.Errorf("adding CPU %d: %w (0-%d)", cpu, ErrRange, MaxCPU)
		}
		b.addRange(cpu, cpu)
	}
	return b.set(), nil
}

// FromWords returns the set whose bits are set in words: CPU n is bit n%64 of
// words[n/64], the layout of an affinity mask in sched_setaffinity(2) on 64-bit
// systems. The error matches [ErrRange] if a bit above [MaxCPU] is set.
func FromWords(words []uint64) (Set, error) {
	var b builder
	for i, word := range words {
		for ; word != 0; word &= word - 1 {
			cpu := i*64 + bits.TrailingZeros64(word)
			if cpu > MaxCPU {
				return Set{}, fmt.Errorf("adding CPU %d: %w (0-%d)", cpu, ErrRange, MaxCPU)
			}
			b.addRange(cpu, cpu)
		}
	}
	return b.set(), nil
}

// Words is the inverse of [FromWords]. The result has no zero words at the end
// and is empty for the empty set; system calls accept it padded with zeros.
func (s Set) Words() []uint64 {
	words := make([]uint64, (len(s.bits)+7)/8)
	for i := range len(s.bits) {
		words[i/8] |= uint64(s.bits[i]) << (i % 8 * 8)
	}
	return words
}

// Contains reports whether cpu is in the set. It never allocates and accepts
// any number.
func (s Set) Contains(cpu int) bool {
	return cpu >= 0 && cpu/8 < len(s.bits) && s.bits[cpu/8]&(1<<(cpu%8)) != 0
}

// IsEmpty reports whether the set has no members.
func (s Set) IsEmpty() bool { return s.bits == "" }

// Equal reports whether both sets have the same members. It is the same as ==
// and there for packages that look for an Equal method.
func (s Set) Equal(other Set) bool { return s == other }

// Len returns the number of CPUs in the set.
func (s Set) Len() int {
	n := 0
	for i := range len(s.bits) {
		n += bits.OnesCount8(s.bits[i])
	}
	return n
}

// First returns the lowest CPU of the set, or false if the set is empty.
func (s Set) First() (cpu int, ok bool) {
	if s.IsEmpty() {
		return 0, false
	}
	return s.next(0), true
}

// Last returns the highest CPU of the set, or false if the set is empty.
func (s Set) Last() (cpu int, ok bool) {
	if s.IsEmpty() {
		return 0, false
	}
	end := len(s.bits) - 1
	return end*8 + bits.Len8(s.bits[end]) - 1, true
}

// All yields the CPUs of the set in ascending order.
func (s Set) All() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i := range len(s.bits) {
			for b := s.bits[i]; b != 0; b &= b - 1 {
				if !yield(i*8 + bits.TrailingZeros8(b)) {
					return
				}
			}
		}
	}
}

// Slice returns the CPUs of the set in ascending order.
func (s Set) Slice() []int {
	cpus := make([]int, 0, s.Len())
	for cpu := range s.All() {
		cpus = append(cpus, cpu)
	}
	return cpus
}

// Union returns the CPUs that are in s, in other, or in both.
func (s Set) Union(other Set) Set {
	return s.combine(other, func(x, y byte) byte { return x | y })
}

// Intersect returns the CPUs that are in both s and other.
func (s Set) Intersect(other Set) Set {
	return s.combine(other, func(x, y byte) byte { return x & y })
}

// Minus returns the CPUs of s that are not in other.
func (s Set) Minus(other Set) Set {
	return s.combine(other, func(x, y byte) byte { return x &^ y })
}

// IsSubsetOf reports whether every CPU of s is also in other. The empty set is
// a subset of every set.
func (s Set) IsSubsetOf(other Set) bool { return s.Minus(other).IsEmpty() }

func (s Set) combine(other Set, op func(x, y byte) byte) Set {
	var x, y builder
	copy(x.bits[:], s.bits)
	copy(y.bits[:], other.bits)
	for i := range max(len(s.bits), len(other.bits)) {
		x.bits[i] = op(x.bits[i], y.bits[i])
	}
	return x.set()
}

// builder is a set under construction. Its size is fixed by MaxCPU, so that no
// input, however hostile, decides how much memory is used.
type builder struct {
	bits [(MaxCPU + 1) / 8]byte
}

// addRange adds the CPUs first to last; the caller has checked the bounds.
func (b *builder) addRange(first, last int) {
	for cpu := first; cpu <= last; {
		if cpu%8 == 0 && cpu+7 <= last {
			b.bits[cpu/8] = 0xff
			cpu += 8
			continue
		}
		b.bits[cpu/8] |= 1 << (cpu % 8)
		cpu++
	}
}

func (b *builder) set() Set {
	end := len(b.bits)
	for end > 0 && b.bits[end-1] == 0 {
		end--
	}
	return Set{string(b.bits[:end])}
}
