// SPDX-License-Identifier: Apache-2.0

package flags

import "testing"

func TestNumbersAreDecimal(t *testing.T) {
	for text, want := range map[string]string{
		"0": "0", "7": "7", "010": "10", "008": "8", "18446744073709551615": "18446744073709551615",
		"": "", "x": "", "-1": "", "0x10": "", "0b1": "", "0o7": "", "1_000": "", "1e3": "", "1.5": "", " 1": "", "18446744073709551616": "",
	} {
		var c Count
		if err := c.Set(text); (err == nil) != (want != "") || err == nil && c.String() != want {
			t.Errorf("count %q: %v, %v; want %q", text, &c, err, want)
		}
	}
	for text, want := range map[string]string{
		"0": "0", "-7": "-7", "010": "10", "-010": "-10",
		"": "", "x": "", "0x10": "", "1_000": "", "1e3": "", "99999999999999999999": "",
	} {
		var n Number
		if err := n.Set(text); (err == nil) != (want != "") || err == nil && n.String() != want {
			t.Errorf("number %q: %v, %v; want %q", text, &n, err, want)
		}
	}
}

func TestDurationsAreDecimal(t *testing.T) {
	for text, want := range map[string]string{"010": "10s", "010ms": "10ms", "1e3": "16m40s", "0x1p3": "", "0X1P3d": "", "1_0": ""} {
		var d Duration
		if err := d.Set(text); (err == nil) != (want != "") || err == nil && d.String() != want {
			t.Errorf("%q: %v, %v; want %q", text, &d, err, want)
		}
	}
}
