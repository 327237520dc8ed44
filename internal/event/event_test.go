// SPDX-License-Identifier: Apache-2.0

package event

import "testing"

func TestKindsHaveNames(t *testing.T) {
	named := map[string]Kind{}
	for k := range Kinds() {
		if other, taken := named[k.String()]; taken || k.String() == "" {
			t.Errorf("kind %d has the name %q, as kind %d has", k, k, other)
		}
		named[k.String()] = k
	}
	for _, k := range []Kind{0, kinds} {
		if k.IsKnown() || k.String() != "unknown" {
			t.Errorf("kind %d is known as %q", k, k)
		}
	}
}

func TestShown(t *testing.T) {
	for number, want := range map[uint32]uint32{0: 0, 4711: 4711, 1<<31 | 4711: 0} {
		if got := Shown(number); got != want {
			t.Errorf("%d: got %d, want %d", number, got, want)
		}
	}
}

func TestReason(t *testing.T) {
	for _, tc := range []struct {
		b, c uint64
		want string
	}{
		{0, 0, ""},
		{0x746f687300, 0, ""},
		{0x74726f6873, 0, "short"},
		{0x6b63616220555043, 0x6e69206563617274, "CPU backtrace in"}, // a text that goes on
	} {
		if got := (&Event{B: tc.b, C: tc.c}).Reason(); got != tc.want {
			t.Errorf("%#x %#x: got %q, want %q", tc.b, tc.c, got, tc.want)
		}
	}
}
