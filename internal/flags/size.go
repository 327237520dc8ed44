// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"fmt"
	"math/bits"
	"os"
	"strconv"
	"strings"
)

// maxSize is that of a BPF ring buffer that two gigabytes of addresses, in which
// it is mapped twice, can hold.
const maxSize = 512 << 20

// BufferSize is a flag: the size of a ring buffer in bytes, with K or M.
type BufferSize int

// String returns the bytes, and nothing for none.
func (s *BufferSize) String() string {
	if *s == 0 {
		return ""
	}
	return strconv.Itoa(int(*s))
}

// Type is for help texts.
func (s *BufferSize) Type() string { return "size" }

// Set takes what was given: a power of two that the kernel takes for a ring buffer.
func (s *BufferSize) Set(text string) error {
	number, shift := text, 0
	for suffix, by := range map[string]int{"K": 10, "M": 20} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			number, shift = n, by
		}
	}
	n, err := strconv.ParseUint(number, 10, 30)
	if err != nil {
		return fmt.Errorf("%q is not a size: want a number of bytes, or a number with K or M", text)
	}
	// What the kernel asks of it: ringbuf_map_alloc() in kernel/bpf/ringbuf.c.
	if n <<= shift; bits.OnesCount64(n) != 1 || n < uint64(os.Getpagesize()) || n > maxSize {
		return fmt.Errorf("the size of a buffer must be a power of two from %dK to %dM, not %s", os.Getpagesize()>>10, maxSize>>20, text)
	}
	*s = BufferSize(n)
	return nil
}
