// SPDX-License-Identifier: Apache-2.0

// Package flags has values of command-line flags, in the notations that real-time tools share.
package flags

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a flag in the notation that real-time tools share: a number of
// seconds, or a number with ms, s, m, h or d.
type Duration time.Duration

// String returns it as Go writes durations, and nothing for none.
func (d *Duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

// Type is for help texts.
func (d *Duration) Type() string { return "duration" }

// Set takes what was given, which must not be negative.
func (d *Duration) Set(text string) error {
	v, err := ParseDuration(text)
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("a duration cannot be negative")
	}
	*d = Duration(v)
	return nil
}

// ParseDuration reads that notation. It takes negative durations as well.
func ParseDuration(text string) (time.Duration, error) {
	unit := time.Second
	number, isDays := strings.CutSuffix(text, "d")
	if isDays {
		unit = 24 * time.Hour
	}
	if n, err := strconv.ParseFloat(number, 64); err == nil && !strings.ContainsAny(number, "xX_") { // 0x1p3 and 1_000 are not of this notation
		v := n * float64(unit)
		if math.IsNaN(v) || math.Abs(v) > math.MaxInt64 {
			return 0, fmt.Errorf("duration %q is too long", text)
		}
		return time.Duration(v), nil
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: want a number of seconds, or a number with ms, s, m, h or d", text)
	}
	return v, nil
}
