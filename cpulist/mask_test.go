// SPDX-License-Identifier: Apache-2.0

package cpulist

import (
	"errors"
	"testing"
)

func TestMask(t *testing.T) {
	for _, tc := range []struct{ mask, list, canonical string }{
		{"0", "", "0"},
		{"00000000,00000000", "", "0"},
		{"3", "0-1", "3"},
		{"00000003\n", "0-1", "3"},
		{"f0", "4-7", "f0"},
		{"FF", "0-7", "ff"},
		{"ff,ffffffff", "0-39", "ff,ffffffff"},
		{"000000ff,ffffffff", "0-39", "ff,ffffffff"},
		{"1,00000000", "32", "1,00000000"},
		{"1,0", "32", "1,00000000"},
		{"80000000,00000000,00000001", "0,95", "80000000,00000000,00000001"},
	} {
		got, err := ParseMask(tc.mask)
		if err != nil || got.String() != tc.list {
			t.Errorf("ParseMask(%q) = %q, %v, want %q", tc.mask, got, err, tc.list)
		}
		if got.Mask() != tc.canonical {
			t.Errorf("%q is written as %q, want %q", tc.mask, got.Mask(), tc.canonical)
		}
	}
}

func TestParseMaskErrors(t *testing.T) {
	for _, tc := range []struct {
		mask string
		want error
	}{
		{"", ErrEmpty},
		{"\n", ErrEmpty},
		{",", ErrMask},
		{"1,,2", ErrMask},
		{"0x3", ErrMask},
		{"-1", ErrMask},
		{"g", ErrMask},
		{"1_1", ErrMask},
		{"1ffffffff", ErrMask},
		{"000000001", ErrMask},
		{"1 2", ErrMask},
		{highMask(MaxCPU + 1), ErrRange},
	} {
		got, err := ParseMask(tc.mask)
		if !errors.Is(err, tc.want) || !got.IsEmpty() {
			t.Errorf("ParseMask(%.20q) = %q, %v, want %v", tc.mask, got, err, tc.want)
		}
	}
	if got, err := ParseMask("0," + highMask(MaxCPU)); err != nil || got.String() != "8191" {
		t.Errorf("got %q, %v for the highest CPU, want 8191", got, err)
	}
}

// highMask is the mask of one CPU, made without the code under test.
func highMask(cpu int) string {
	mask := []byte{"1248"[cpu%4]}
	for range cpu % 32 / 4 {
		mask = append(mask, '0')
	}
	for range cpu / 32 {
		mask = append(mask, ",00000000"...)
	}
	return string(mask)
}

func FuzzParseMask(f *testing.F) {
	for _, seed := range []string{"", "0", "ff,ffffffff", "1,0", ",", "1ffffffff", "0x1", highMask(8191), highMask(8192)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseMask(text)
		if err != nil {
			if !got.IsEmpty() {
				t.Fatalf("ParseMask(%q) = %q together with %v", text, got, err)
			}
			return
		}
		checkRoundTrip(t, got)
	})
}
