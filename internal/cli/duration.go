// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// duration is a flag in the notation that real-time tools share: a number of
// seconds, or a number with ms, s, m, h or d.
type duration time.Duration

func (d *duration) String() string {
	if *d == 0 {
		return ""
	}
	return time.Duration(*d).String()
}

func (d *duration) Type() string { return "duration" }

func (d *duration) Set(text string) error {
	v, err := parseDuration(text)
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("a duration cannot be negative")
	}
	*d = duration(v)
	return nil
}

func parseDuration(text string) (time.Duration, error) {
	unit := time.Second
	number, isDays := strings.CutSuffix(text, "d")
	if isDays {
		unit = 24 * time.Hour
	}
	if n, err := strconv.ParseFloat(number, 64); err == nil {
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
