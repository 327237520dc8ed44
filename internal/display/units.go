// SPDX-License-Identifier: Apache-2.0

package display

import (
	"strconv"
	"strings"
	"time"
)

// Span returns a duration with three digits and one unit: "1.23 ms".
func Span(d time.Duration) string {
	number, unit := split(d)
	return number + " " + unit
}

// split returns a duration with three digits, and its unit.
func split(d time.Duration) (number, unit string) {
	if d < 0 {
		number, unit = split(-d)
		return "-" + number, unit
	}
	for _, u := range []struct {
		unit time.Duration
		name string
	}{{time.Second, "s"}, {time.Millisecond, "ms"}, {time.Microsecond, "µs"}} {
		if d >= u.unit {
			v := float64(d) / float64(u.unit)
			return strconv.FormatFloat(v, 'f', digitsBehind(v), 64), u.name
		}
	}
	return strconv.FormatInt(int64(d), 10), "ns"
}

func digitsBehind(v float64) int {
	switch {
	case v >= 100:
		return 0
	case v >= 10:
		return 1
	default:
		return 2
	}
}

// RoundSpan is Span for whole units: "10 ms".
func RoundSpan(d time.Duration) string {
	number, unit := split(d)
	if strings.Contains(number, ".") {
		number = strings.TrimRight(strings.TrimRight(number, "0"), ".")
	}
	return number + " " + unit
}

// Count returns n with a comma before each three digits.
func Count(n uint64) string {
	s := strconv.FormatUint(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Plural returns n with the word for one or for several.
func Plural(n uint64, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return Count(n) + " " + several
}
