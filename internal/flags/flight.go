// SPDX-License-Identifier: Apache-2.0

package flags

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Bytes is a flag: a number of bytes, or a number with K, M or G.
type Bytes int64

// String returns the bytes, and nothing for none.
func (b *Bytes) String() string {
	if *b == 0 {
		return ""
	}
	for suffix, shift := range map[string]int{"G": 30, "M": 20} {
		if n := int64(*b) >> shift; n > 0 && n<<shift == int64(*b) {
			return strconv.FormatInt(n, 10) + suffix
		}
	}
	return strconv.FormatInt(int64(*b), 10)
}

// Type is for help texts.
func (b *Bytes) Type() string { return "size" }

// Set takes what was given.
func (b *Bytes) Set(text string) error {
	number, shift := text, 0
	for suffix, by := range map[string]int{"K": 10, "M": 20, "G": 30} {
		if n, ok := strings.CutSuffix(text, suffix); ok {
			number, shift = n, by
		}
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is not a size: want a number of bytes, or a number with K, M or G", text)
	}
	*b = Bytes(n << shift)
	return nil
}

// Window is a flag: so many bytes, of so much time at most, as in 64M,120s.
type Window struct {
	Bytes Bytes
	Span  Duration
}

// String returns it as it is written.
func (w *Window) String() string {
	if w.Bytes == 0 {
		return ""
	}
	return w.Bytes.String() + "," + time.Duration(w.Span).String()
}

// Type is for help texts.
func (w *Window) Type() string { return "size,time" }

// Set takes what was given.
func (w *Window) Set(text string) error {
	size, span, found := strings.Cut(text, ",")
	if !found {
		return fmt.Errorf("%q: want a size and a time, such as 64M,120s", text)
	}
	if err := w.Bytes.Set(size); err != nil {
		return err
	}
	return w.Span.Set(span)
}
