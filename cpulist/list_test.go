// SPDX-License-Identifier: Apache-2.0

package cpulist

import (
	"encoding/json"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		text string
		want []int
	}{
		{"0", []int{0}},
		{"1,3,5-7", []int{1, 3, 5, 6, 7}},
		{"5-7,3,1,6", []int{1, 3, 5, 6, 7}},
		{"3-3", []int{3}},
		{"007", []int{7}},
		{"8191", []int{8191}},
		{" 1-2\n", []int{1, 2}},
		{"1 3\t5", []int{1, 3, 5}},
		{",1,,3,", []int{1, 3}},
		{"0-31:2/4", []int{0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29}},
		{"1-10:3/4", []int{1, 2, 3, 5, 6, 7, 9, 10}},
		{"4-7:1/1", []int{4, 5, 6, 7}},
		{"4-7:1/1000000000", []int{4}},
		{"4-7:0/2,9", []int{9}},
	} {
		got, err := Parse(tc.text)
		if err != nil || !slices.Equal(got.Slice(), tc.want) {
			t.Errorf("Parse(%q) = %v, %v, want %v", tc.text, got.Slice(), err, tc.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, tc := range []struct {
		text string
		want error
	}{
		{"", ErrEmpty},
		{" \n", ErrEmpty},
		{",", ErrEmpty},
		{"0-31:0/4", ErrEmpty},
		{"8192", ErrRange},
		{"0-8192", ErrRange},
		{"0-4294967295", ErrRange},
		{"99999999999999999999999", ErrRange},
		{"0-3:1/99999999999999999999999", ErrRange},
		{"7-5", ErrOrder},
		{"0-3:1/0", ErrStride},
		{"0-3:3/2", ErrStride},
		{"N", ErrNoLast},
		{"2-N", ErrNoLast},
		{"all", ErrNoLast},
		{"0-3:1/N", ErrNoLast},
		{"x", ErrSyntax},
		{"-1", ErrSyntax},
		{"+1", ErrSyntax},
		{"1-", ErrSyntax},
		{"-", ErrSyntax},
		{"1--2", ErrSyntax},
		{"0x3", ErrSyntax},
		{"1_0", ErrSyntax},
		{"1-2-3", ErrSyntax},
		{"5:1/2", ErrSyntax},
		{"0-3:1", ErrSyntax},
		{"0-3:/2", ErrSyntax},
		{"0-3:1/2/3", ErrSyntax},
		{"1\n2", ErrSyntax},
		{"(null)", ErrSyntax},
		{"١", ErrSyntax}, // a digit, but not for the kernel
	} {
		got, err := Parse(tc.text)
		if !errors.Is(err, tc.want) {
			t.Errorf("Parse(%q): error %v, want %v", tc.text, err, tc.want)
		}
		if !got.IsEmpty() {
			t.Errorf("Parse(%q) = %v together with an error", tc.text, got)
		}
	}
}

func TestParseErrorText(t *testing.T) {
	_, err := Parse("1,9-3")
	if want := `parsing CPU list "1,9-3" at "9-3": range ends before it begins`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	var parseErr *ParseError
	if !errors.As(err, &parseErr) || parseErr.Part != "9-3" {
		t.Errorf("got %#v, want a *ParseError with part 9-3", err)
	}
	_, err = Parse(strings.Repeat("1,", 10000) + "x")
	if len(err.Error()) > 200 {
		t.Errorf("message has %d bytes, want a short one", len(err.Error()))
	}
}

func TestParseMax(t *testing.T) {
	for _, tc := range []struct {
		text string
		last int
		want string
		err  error
	}{
		{"N", 7, "7", nil},
		{"2-N", 7, "2-7", nil},
		{"N-N", 7, "7", nil},
		{"all", 7, "0-7", nil},
		{"ALL", 0, "0", nil},
		{"all:1/2", 7, "0,2,4,6", nil},
		{"0-N:1/N", 7, "0,7", nil},
		{"7", 7, "7", nil},
		{"8", 7, "", ErrRange},
		{"0-8", 7, "", ErrRange},
		{"n", 7, "", ErrSyntax},
		{"0", -1, "", ErrRange},
		{"0", MaxCPU + 1, "", ErrRange},
	} {
		got, err := ParseMax(tc.text, tc.last)
		if !errors.Is(err, tc.err) || got.String() != tc.want {
			t.Errorf("ParseMax(%q, %d) = %q, %v, want %q, %v", tc.text, tc.last, got, err, tc.want, tc.err)
		}
	}
}

func TestParseSysfs(t *testing.T) {
	for text, want := range map[string]string{"": "", "\n": "", "(null)\n": "", "0-3,5\n": "0-3,5"} {
		got, err := ParseSysfs(text)
		if err != nil || got.String() != want {
			t.Errorf("ParseSysfs(%q) = %q, %v, want %q", text, got, err, want)
		}
	}
	if _, err := ParseSysfs("0-"); !errors.Is(err, ErrSyntax) {
		t.Errorf("error %v, want %v", err, ErrSyntax)
	}
}

func TestJSON(t *testing.T) {
	type spec struct{ CPUs, None Set }
	in := spec{CPUs: mustParse(t, "2-3,8")}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"CPUs":"2-3,8","None":""}`; string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	out := spec{None: mustParse(t, "7")}
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if out != in {
		t.Errorf("got %v back, want %v", out, in)
	}
}

func TestFlag(t *testing.T) {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(t.Output())
	var cpus Set
	flags.TextVar(&cpus, "cpus", mustParse(t, "0"), "")
	if cpus.String() != "0" {
		t.Errorf("default is %q, want 0", cpus)
	}
	if err := flags.Parse([]string{"-cpus", "1-2"}); err != nil || cpus.String() != "1-2" {
		t.Errorf("got %q, %v, want 1-2", cpus, err)
	}
	if err := flags.Parse([]string{"-cpus", "2-1"}); err == nil || cpus.String() != "1-2" {
		t.Errorf("got %q, %v, want an error and the old value", cpus, err)
	}
}

// FuzzParse holds Parse against a slow reading of the same grammar.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"", "0", "1,3,5-7", "0-31:2/4", "8191", "8192", "0-8191", "7-5", "N", "all", " 1 \n", "0-3:1/0", "1,,2", "-1",
		"0-8191:1/2,1-8191:1/2", "99999999999999999999", "(null)", "0-7:3/8 9\t11",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Parse(text)
		if (err != nil) != got.IsEmpty() {
			t.Fatalf("Parse(%q) = %q, %v: an error and a set exclude each other", text, got, err)
		}
		want := oracle(text)
		if !slices.Equal(got.Slice(), want) {
			t.Fatalf("Parse(%q) = %v, %v, oracle says %v", text, got.Slice(), err, want)
		}
		if err != nil {
			return
		}
		checkRoundTrip(t, got)
	})
}

func checkRoundTrip(t *testing.T, want Set) {
	t.Helper()
	if got, err := ParseSysfs(want.String()); err != nil || got != want {
		t.Errorf("list %q comes back as %q, %v", want, got, err)
	}
	if got, err := ParseMask(want.Mask()); err != nil || got != want {
		t.Errorf("mask %q comes back as %q, %v", want.Mask(), got.Mask(), err)
	}
	if got, err := FromWords(want.Words()); err != nil || got != want {
		t.Errorf("words %x come back as %q, %v", want.Words(), got, err)
	}
	if got, err := New(want.Slice()...); err != nil || got != want {
		t.Errorf("CPUs %v come back as %q, %v", want.Slice(), got, err)
	}
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string]string{
		"short":       "1,3,5-7",
		"512 singles": singles(512),
		"8192":        "0-8191",
		"stride":      "0-8191:1/2",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
