// SPDX-License-Identifier: Apache-2.0

package cpulist

import (
	"errors"
	"fmt"
)

// Reasons for which a text is not a CPU list or mask. Test for them with
// [errors.Is].
var (
	// ErrEmpty means that the text selects no CPU.
	ErrEmpty = errors.New("no CPU selected")
	// ErrRange means that a number is above the highest possible CPU.
	ErrRange = errors.New("CPU number out of range")
	// ErrOrder means that a range ends before it begins.
	ErrOrder = errors.New("range ends before it begins")
	// ErrStride means that in "range:used/group" the group is zero or smaller
	// than the used part.
	ErrStride = errors.New("group must be at least 1 and not smaller than its used part")
	// ErrNoLast means that "N" or "all" was used where the number of CPUs is
	// not known.
	ErrNoLast = errors.New("the last CPU is not known here, write its number")
	// ErrSyntax means that the text is not of the form "1,3,5-7" or "0-31:2/4".
	ErrSyntax = errors.New(`not of the form "3", "5-7" or "0-31:2/4"`)
	// ErrMask means that a part of a mask is not a hexadecimal number of at
	// most 32 bits.
	ErrMask = errors.New("not a hexadecimal number of at most 8 digits")
)

// ParseError names the text that could not be read, and the reason.
type ParseError struct {
	Text string // all of the text
	Part string // the part of it that is wrong, empty if that is all of it
	Err  error  // one of the reasons above
}

// maxQuoted bounds the message, since the text may be a whole file by mistake.
const maxQuoted = 64

func (e *ParseError) Error() string {
	text := shorten(e.Text)
	if e.Part == "" || e.Part == e.Text {
		return fmt.Sprintf("parsing CPU list %q: %v", text, e.Err)
	}
	return fmt.Sprintf("parsing CPU list %q at %q: %v", text, shorten(e.Part), e.Err)
}

// Unwrap returns the reason.
func (e *ParseError) Unwrap() error { return e.Err }

func shorten(text string) string {
	if len(text) <= maxQuoted {
		return text
	}
	return text[:maxQuoted] + "..."
}
