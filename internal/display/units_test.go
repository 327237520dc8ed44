// SPDX-License-Identifier: Apache-2.0

package display

import (
	"testing"
	"time"
)

func TestUnits(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ns", 999: "999 ns", 1000: "1.00 µs", 12345: "12.3 µs", 123456: "123 µs", -1500: "-1.50 µs",
		time.Millisecond: "1.00 ms", 61 * time.Second: "61.0 s", 3 * time.Hour: "10800 s",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%d): got %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{time.Microsecond: "1 µs", 10 * time.Millisecond: "10 ms", 100 * time.Second: "100 s"} {
		if got := RoundSpan(d); got != want {
			t.Errorf("RoundSpan(%d): got %q, want %q", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d): got %q, want %q", n, got, want)
		}
	}
}
