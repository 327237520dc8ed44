// SPDX-License-Identifier: Apache-2.0

package display

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWidth(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "abc": 3, "1.20 µs": 7, "≥ →×…": 5, "日本": 4, "e\u0301": 1, "ｶﾅ": 2, "Ａ": 2, "👍": 2, "a\u200bb": 2,
	} {
		if got := Width(text); got != want {
			t.Errorf("%q takes %d columns, want %d", text, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, tc := range []struct {
		text string
		most int
		want string
	}{
		{"abcdef", 6, "abcdef"}, {"abcdef", 5, "abcd…"}, {"ab cdef", 4, "ab…"}, {"abc", 1, "…"}, {"abc", 0, ""}, {"", 0, ""},
		{"日本語", 6, "日本語"}, {"日本語", 5, "日本…"}, {"日本語", 4, "日…"},
		{"e\u0301e\u0301e\u0301", 3, "e\u0301e\u0301e\u0301"}, {"e\u0301e\u0301e\u0301", 2, "e\u0301…"},
	} {
		if got := Cut(tc.text, tc.most); got != tc.want {
			t.Errorf("%q cut to %d: %q, want %q", tc.text, tc.most, got, tc.want)
		}
	}
}

func TestFold(t *testing.T) {
	for text, want := range map[string][]string{
		"":                       {""},
		"one two":                {"one two"},
		"one two three":          {"one two", "three"},
		"extraordinarily, so":    {"extraor…", "so"},
		"日本 日本語 x":               {"日本", "日本語 x"},
		"  blanks\n and breaks ": {"blanks", "and", "breaks"},
	} {
		if got := Fold(text, 8); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add("日本 e\u0301", 3)
	f.Fuzz(func(t *testing.T, s string, most int) {
		if !utf8.ValidString(s) || most < 0 {
			return
		}
		cut := Cut(s, most)
		if Width(cut) > most || !strings.HasPrefix(s, strings.TrimSuffix(cut, "…")) {
			t.Errorf("%q cut to %d is %q", s, most, cut)
		}
		for _, line := range Fold(s, most) {
			if Width(line) > most {
				t.Errorf("%q folded to %d has the line %q", s, most, line)
			}
		}
	})
}
