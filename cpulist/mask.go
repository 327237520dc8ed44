// SPDX-License-Identifier: Apache-2.0

package cpulist

import (
	"math/bits"
	"strconv"
	"strings"
)

const maskChunkBits = 32

// ParseMask reads a hexadecimal CPU mask as the kernel writes it: chunks of 32
// bits, highest first, separated by commas, each with or without leading
// zeros: "ff,ffffffff", "00000000,00000003", "3". A mask of zeros is the empty
// set; text without any digit is an error that matches [ErrEmpty].
//
// Every error is a [*ParseError], and the set returned with it is empty.
func ParseMask(text string) (Set, error) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return Set{}, &ParseError{Text: text, Err: ErrEmpty}
	}
	var b builder
	high := strings.Count(trimmed, ",")
	for chunk := range strings.SplitSeq(trimmed, ",") {
		if err := b.addChunk(chunk, high*maskChunkBits); err != nil {
			return Set{}, &ParseError{Text: text, Part: chunk, Err: err}
		}
		high--
	}
	return b.set(), nil
}

// addChunk adds the CPUs of one chunk, whose lowest bit is the CPU base.
func (b *builder) addChunk(chunk string, base int) error {
	// ParseUint takes no signs; in base 16 it takes no underscores and prefixes.
	value, err := strconv.ParseUint(chunk, 16, maskChunkBits)
	if err != nil || len(chunk) > maskChunkBits/4 {
		return ErrMask
	}
	if value == 0 {
		return nil
	}
	if base+bits.Len64(value)-1 > MaxCPU {
		return ErrRange
	}
	for ; value != 0; value &= value - 1 {
		cpu := base + bits.TrailingZeros64(value)
		b.addRange(cpu, cpu)
	}
	return nil
}

// Mask returns the set as a hexadecimal mask in the kernel's notation, without
// leading zeros: "3", "ff,ffffffff", and "0" for the empty set. The kernel takes
// it in every mask file, whatever the number of CPUs.
func (s Set) Mask() string {
	words := s.Words()
	if len(words) == 0 {
		return "0"
	}
	var text []byte
	for i := len(words) - 1; i >= 0; i-- {
		text = appendChunk(text, uint32(words[i]>>maskChunkBits))
		text = appendChunk(text, uint32(words[i]))
	}
	return string(text)
}

// appendChunk leaves out chunks of zeros at the start of the mask.
func appendChunk(text []byte, chunk uint32) []byte {
	if len(text) == 0 {
		if chunk == 0 {
			return text
		}
		return strconv.AppendUint(text, uint64(chunk), 16)
	}
	digits := strconv.FormatUint(uint64(chunk), 16)
	text = append(text, ',')
	text = append(text, strings.Repeat("0", maskChunkBits/4-len(digits))...)
	return append(text, digits...)
}
