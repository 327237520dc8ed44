// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/usersym"
	"github.com/taskiso/taskiso/pagefault"
)

// collected is a report of a few faults, two of which do not count.
func collected(t *testing.T) (*Report, []pagefault.Fault) {
	t.Helper()
	c := NewCollector(usersym.New(t.TempDir()), false)
	c.Begin, c.Marked = time.Second, true
	var counted []pagefault.Fault
	c.OnFault = func(f *pagefault.Fault) { counted = append(counted, *f) }
	file := pagefault.Mapping{Kind: pagefault.File, Start: 0x7000, End: 0x9000, Offset: 0x1000, Name: "/a/long/way/to/a file"}
	for _, f := range []pagefault.Fault{
		{Time: 999 * time.Millisecond, Marked: true, TID: 1},
		{Time: time.Second, TID: 1},
		{Time: time.Second, Marked: true, TID: 1, Thread: "a", Duration: 1500, Address: 0x5000, Mapping: pagefault.Mapping{Kind: pagefault.Anonymous}},
		{Time: 2 * time.Second, Marked: true, TID: 1, Thread: "a", Duration: 20_000, Major: true, Address: 0x7008, Mapping: file},
		{Time: 3 * time.Second, Marked: true, TID: 2, Thread: "b", Duration: 2500, Address: 0x5000, Kernel: true, Mapping: pagefault.Mapping{Kind: pagefault.Anonymous}},
	} {
		c.Add(&f)
	}
	var r Report
	c.Fill(&r)
	r.Duration, r.Kernel, r.Target = 4*time.Second, "6.0", Target{PID: 1}
	r.Lost, r.Limits = 7, []string{"a limit"}
	return &r, counted
}

const wantText = `
taskiso: 4.00 s on 6.0
  process 1

2 minor and 1 major page faults, 24.0 µs in them

  minor  major     time  longest  mapping
      0      1  20.0 µs  20.0 µs  file /a/long/way/to/a file
      2      0  4.00 µs  2.50 µs  anonymous

  minor  major     time  longest  code
      1      1  21.5 µs  20.0 µs  ?
      1      0  2.50 µs  2.50 µs  ? in kernel, for a system call

  minor  major     time  longest  thread
      1      1  21.5 µs  20.0 µs  1 a
      1      0  2.50 µs  2.50 µs  2 b

        lasted  faults
  from 1.00 µs       2  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇
  from 10.0 µs       1  ▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇

          at   lasted  thread         address  in             by
  1.000000 s  20.0 µs       1  major  0x7008   a file+0x1008  ?
  2.000000 s  2.50 µs       2  minor  0x5000   anonymous      ? in kernel, for a system call
  0.000000 s  1.50 µs       1  minor  0x5000   anonymous      ?

  besides  in no table
        7  lost for want of room in a buffer; with --no-times or --major less is written to it
        1  during the warm-up
        1  of threads that had not declared that they expect none
  - a limit
`

func TestText(t *testing.T) {
	r, counted := collected(t)
	var out bytes.Buffer
	if err := WriteText(&out, r); err != nil {
		t.Fatal(err)
	}
	if out.String() != wantText {
		t.Errorf("got\n%s\nwant\n%s", out.String(), wantText)
	}
	if len(counted) != 3 {
		t.Errorf("%d faults counted, want 3", len(counted))
	}
}

func TestJSON(t *testing.T) {
	r, _ := collected(t)
	var out bytes.Buffer
	if err := display.Report(&out, r); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*r, back) {
		t.Errorf("got %+v, want %+v", back, *r)
	}
}

func TestLongest(t *testing.T) {
	c := NewCollector(usersym.New(t.TempDir()), false)
	for i := range 100 {
		c.Add(&pagefault.Fault{Duration: time.Duration(i * 37 % 100)})
	}
	for i, f := range c.longest {
		if want := time.Duration(99 - i); f.Duration != want {
			t.Errorf("longest fault %d took %v, want %v", i, f.Duration, want)
		}
	}
	if len(c.longest) != longestCount {
		t.Errorf("%d are kept, want %d", len(c.longest), longestCount)
	}
}

// Code that is generated all the time does not let the report grow without bound.
func TestManyPlaces(t *testing.T) {
	c := NewCollector(usersym.New(t.TempDir()), false)
	for i := range maxPlaces + 1000 {
		c.Add(&pagefault.Fault{PID: 1, IP: uint64(i), Code: pagefault.Mapping{Kind: pagefault.Anonymous}})
	}
	if n := len(c.spots); n > maxPlaces+1 {
		t.Errorf("%d places are kept", n)
	}
	if sum := c.spots[spot{name: "others"}]; sum == nil || sum.Total() < 999 {
		t.Errorf("others: %+v", sum)
	}
}

func TestLine(t *testing.T) {
	got := Line(Fault{At: time.Millisecond, TID: 7, Severity: "minor", Address: "0x7f0000000000", Kind: pagefault.Heap, Function: "main", File: "/x/a.c", Line: 3, Object: "/x/a"})
	if want := "  0.001000 s        -        7  minor  0x7f0000000000  heap                      main (a.c:3) in a"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if strings.Contains(got, "\n") {
		t.Error("more than a line")
	}
}
