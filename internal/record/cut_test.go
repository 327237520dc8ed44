// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
)

// cutOut returns a part of a recording.
func cutOut(t *testing.T, recording []byte, s Selection) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Cut(bytes.NewReader(recording), &out, s); err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return out.Bytes()
}

// chunksOf returns the chunks of a recording as they stand in it.
func chunksOf(t *testing.T, recording []byte) (all [][]byte) {
	t.Helper()
	in := newSource(bytes.NewReader(recording[len(magic):]))
	for {
		c, err := in.next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, appendChunk(nil, c))
	}
}

// Chunks that are in a part as a whole are copied byte for byte; the events of the others are those between the two times.
func TestCutCopiesWholeChunks(t *testing.T) {
	recording := newScript(1, 3000).recording(t)
	whole := chunksOf(t, recording)
	if len(whole) < 6 {
		t.Fatalf("%d chunks", len(whole))
	}
	part := cutOut(t, recording, Selection{From: 2 * time.Second, Until: 12 * time.Second})
	copied := 0
	for _, c := range whole[1 : len(whole)-1] {
		if bytes.Contains(part, c) {
			copied++
		}
	}
	if copied == 0 || copied > len(whole)-4 {
		t.Errorf("%d chunks of %d are copied", copied, len(whole))
	}
	items, r, err := read(bytes.NewReader(part))
	if err != nil {
		t.Fatal(err)
	}
	from, until := r.Header.Part.Began, r.Header.Part.Began+10*time.Second
	all, _, _ := read(bytes.NewReader(recording))
	if got, want := eventsBetween(items, from, until), eventsBetween(all, from, until); got != want || got == 0 || eventsBetween(items, until+1, math.MaxInt64) != 0 {
		t.Errorf("%d events, want %d", got, want)
	}
}

func eventsBetween(items []Item, from, until time.Duration) (n int) {
	for _, item := range items {
		if b, ok := item.(Batch); ok {
			n += countUntil(b.Events, until) - countUntil(b.Events, from-1)
		}
	}
	return n
}

// A part that would have nothing in it is an error, and none is written.
func TestCutOfNothing(t *testing.T) {
	recording := newScript(1, 3000).recording(t)
	one, err := cpulist.New(77)
	if err != nil {
		t.Fatal(err)
	}
	of3 := cutOut(t, recording, Selection{Until: time.Second, TID: 3})
	for want, tc := range map[string]struct {
		of []byte
		s  Selection
	}{
		"would begin at":                {recording, Selection{From: time.Hour, Until: 2 * time.Hour}},
		"before it begins":              {recording, Selection{From: time.Second, Until: time.Second}},
		"CPU 77 was not observed":       {recording, Selection{Until: time.Second, CPUs: one}},
		"with thread 3 only":            {of3, Selection{Until: time.Second, TID: 4}},
		"the observation did not begin": {whole(t, func(*Writer) {}), Selection{Until: time.Second}},
	} {
		var out bytes.Buffer
		if err := Cut(bytes.NewReader(tc.of), &out, tc.s); !errors.Is(err, ErrNothing) || !strings.Contains(err.Error(), want) || out.Len() > 0 {
			t.Errorf("%+v: %d bytes, %v; want %q", tc.s, out.Len(), err, want)
		}
	}
}

// whole is a recording of what is done.
func whole(t *testing.T, do func(*Writer)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, header(), kernel{})
	if err != nil {
		t.Fatal(err)
	}
	do(w)
	if err := w.Close(&End{}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A gap that reaches into a part is in it, as far as it does.
func TestCutOfAGap(t *testing.T) {
	recording := whole(t, func(w *Writer) {
		w.Begin(time.Second)
		w.Batch(event.Batch{Until: 10 * time.Second, Events: []event.Event{{Kind: event.UserExit, Time: 5 * time.Second}}})
		w.missing, w.until = Gap{From: 10 * time.Second, Until: 20 * time.Second, Events: 7}, 20*time.Second
		w.enc.reset(w.until)
		w.Batch(event.Batch{Until: 30 * time.Second, Events: []event.Event{{Kind: event.UserExit, Time: 29 * time.Second}}})
	})
	for _, tc := range []struct {
		from, until time.Duration
		want        Gap
	}{
		{12 * time.Second, 15 * time.Second, Gap{13*time.Second - lead, 16 * time.Second, 7}},
		{5 * time.Second, 28 * time.Second, Gap{10 * time.Second, 20 * time.Second, 7}},
		{25 * time.Second, 28 * time.Second, Gap{}},
	} {
		items, _, err := read(bytes.NewReader(cutOut(t, recording, Selection{From: tc.from, Until: tc.until})))
		if err != nil {
			t.Fatal(err)
		}
		var got Gap
		for _, item := range items {
			if g, ok := item.(Gap); ok {
				got = g
			}
		}
		if got != tc.want {
			t.Errorf("%v to %v: %+v, want %+v", tc.from, tc.until, got, tc.want)
		}
	}
}

// What is kept of the time before a part has a bound.
func TestBeforeIsBounded(t *testing.T) {
	s := newBefore(1 << 20)
	stack := make([]uint64, maxStack)
	for i := range 100_000 {
		s.batch(event.Batch{Events: []event.Event{
			{Kind: event.SendTimer, C: uint64(i), Sender: &event.Sender{Stack: stack}},
			{Kind: event.SendWake, B: uint64(i), Sender: &event.Sender{Stack: stack}},
			{Kind: event.IRQEnter, CPU: i % 8},
		}})
		if s.bytes > s.limit {
			t.Fatalf("%d bytes", s.bytes)
		}
	}
	if n := s.counted(); n != s.bytes || len(s.events(0)) > len(s.sent)+8*maxInside {
		t.Errorf("%d bytes, counted as %d; %d events", n, s.bytes, len(s.events(0)))
	}
}

// FuzzCut cuts what anybody can have written. A part of what can be read can be read.
func FuzzCut(f *testing.F) {
	var t testing.T
	recording := newScript(6, 20).recording(&t)
	f.Add(recording, int64(20*time.Millisecond), int64(50*time.Millisecond), uint32(0))
	f.Add(cutOut(&t, recording, Selection{Until: 50 * time.Millisecond}), int64(0), int64(30*time.Millisecond), uint32(2))
	f.Fuzz(func(t *testing.T, text []byte, from, until int64, tid uint32) {
		var out bytes.Buffer
		err := Cut(bytes.NewReader(text), &out, Selection{From: time.Duration(from), Until: time.Duration(until), TID: tid})
		if _, _, unreadable := read(bytes.NewReader(text)); err != nil || unreadable != nil {
			return
		}
		if _, r, err := read(&out); err != nil || r.Header.Part == nil || r.End == nil {
			t.Errorf("the part cannot be read: %v", err)
		}
	})
}
