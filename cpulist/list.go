// SPDX-License-Identifier: Apache-2.0

package cpulist

import (
	"strconv"
	"strings"
)

// Parse reads a CPU list that a user wrote, in the notation of the kernel's
// boot parameters:
//
//	3          one CPU
//	1,3,5-7    CPUs and ranges; spaces and tabs separate as commas do
//	0-31:2/4   the first 2 CPUs of every group of 4 in the range
//
// White space around the text is ignored. A list that selects no CPU is an
// error that matches [ErrEmpty]. "N" (the last CPU) and "all" have a meaning
// only where the number of CPUs is known: here they give an error that matches
// [ErrNoLast]; use [ParseMax].
//
// Every error is a [*ParseError], and the set returned with it is empty.
func Parse(text string) (Set, error) {
	return parseList(text, listParser{last: MaxCPU})
}

// ParseMax is [Parse] for a system whose highest CPU number is last. The list
// may then also contain "N" for that CPU and "all" for every CPU up to it, as
// in "2-N" or "all:1/2", and a higher number is an error that matches
// [ErrRange].
func ParseMax(text string, last int) (Set, error) {
	if last < 0 || last > MaxCPU {
		return Set{}, &ParseError{Text: text, Part: "N=" + strconv.Itoa(last), Err: ErrRange}
	}
	return parseList(text, listParser{last: last, lastKnown: true})
}

// ParseSysfs reads a CPU list that the kernel wrote. Unlike [Parse] it takes
// the two ways in which the kernel writes the empty set: nothing (as in
// /sys/devices/system/cpu/isolated) and "(null)", which
// /sys/devices/system/cpu/nohz_full shows on kernels without nohz_full=,
// because there the mask it prints is a null pointer.
func ParseSysfs(text string) (Set, error) {
	switch strings.TrimSpace(text) {
	case "", "(null)":
		return Set{}, nil
	}
	return Parse(text)
}

// String returns the set as the kernel writes it, with ranges: "1,3,5-7". It
// is empty for the empty set. [ParseSysfs] reads it back.
func (s Set) String() string {
	var text []byte
	for first := s.next(0); first >= 0; {
		last := first
		for s.Contains(last + 1) {
			last++
		}
		if len(text) > 0 {
			text = append(text, ',')
		}
		text = strconv.AppendInt(text, int64(first), 10)
		if last > first {
			text = append(text, '-')
			text = strconv.AppendInt(text, int64(last), 10)
		}
		first = s.next(last + 1)
	}
	return string(text)
}

// next returns the lowest CPU of the set that is not below cpu, or -1.
func (s Set) next(cpu int) int {
	for ; cpu < len(s.bits)*8; cpu++ {
		if s.Contains(cpu) {
			return cpu
		}
	}
	return -1
}

// MarshalText returns [Set.String], so that sets appear as strings in JSON and
// work with [flag.TextVar].
func (s Set) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote. It is [Parse], except that empty
// text is the empty set: a program that wants at least one CPU from a flag
// checks [Set.IsEmpty].
func (s *Set) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*s = Set{}
		return nil
	}
	parsed, err := Parse(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

type listParser struct {
	last      int
	lastKnown bool // whether "N" and "all" mean something
}

func parseList(text string, p listParser) (Set, error) {
	var b builder
	for region := range strings.FieldsFuncSeq(strings.TrimSpace(text), isSeparator) {
		if err := p.addRegion(&b, region); err != nil {
			return Set{}, &ParseError{Text: text, Part: region, Err: err}
		}
	}
	set := b.set()
	if set.IsEmpty() {
		return Set{}, &ParseError{Text: text, Err: ErrEmpty}
	}
	return set, nil
}

func isSeparator(r rune) bool { return r == ',' || r == ' ' || r == '\t' }

// addRegion adds "first", "first-last" or "first-last:used/group".
func (p listParser) addRegion(b *builder, region string) error {
	span, pattern, hasPattern := strings.Cut(region, ":")
	first, last, isRange, err := p.span(span)
	if err != nil {
		return err
	}
	if !hasPattern {
		b.addRange(first, last)
		return nil
	}
	if !isRange {
		return ErrSyntax
	}
	used, group, err := p.pattern(pattern)
	if err != nil {
		return err
	}
	for ; used > 0 && first <= last; first += group {
		b.addRange(first, min(first+used-1, last))
	}
	return nil
}

func (p listParser) span(text string) (first, last int, isRange bool, err error) {
	if strings.EqualFold(text, "all") {
		return 0, p.last, true, p.needLast()
	}
	from, to, isRange := strings.Cut(text, "-")
	if first, err = p.cpu(from); err != nil {
		return 0, 0, false, err
	}
	if !isRange {
		return first, first, false, nil
	}
	if last, err = p.cpu(to); err != nil {
		return 0, 0, false, err
	}
	if first > last {
		return 0, 0, false, ErrOrder
	}
	return first, last, true, nil
}

// pattern reads "used/group".
func (p listParser) pattern(text string) (used, group int, err error) {
	before, after, found := strings.Cut(text, "/")
	if !found {
		return 0, 0, ErrSyntax
	}
	if used, err = p.number(before); err != nil {
		return 0, 0, err
	}
	if group, err = p.number(after); err != nil {
		return 0, 0, err
	}
	if group == 0 || used > group {
		return 0, 0, ErrStride
	}
	return used, group, nil
}

func (p listParser) cpu(text string) (int, error) {
	n, err := p.number(text)
	if err == nil && n > p.last {
		return 0, ErrRange
	}
	return n, err
}

// number reads "N" or a decimal number below 2^30, so that the sum of two fits
// an int everywhere. Only digits count: strconv alone would also take signs.
func (p listParser) number(text string) (int, error) {
	if text == "N" {
		return p.last, p.needLast()
	}
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, ErrSyntax
	}
	n, err := strconv.ParseUint(text, 10, 30)
	if err != nil {
		return 0, ErrRange
	}
	return int(n), nil
}

func (p listParser) needLast() error {
	if !p.lastKnown {
		return ErrNoLast
	}
	return nil
}
