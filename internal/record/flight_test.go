// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

// snapshots are those that a flight recorder has saved.
type snapshots struct {
	mu    sync.Mutex
	texts [][]byte
	slow  chan struct{} // if set, the disk waits for it before each write but the first
}

func (s *snapshots) save(write func(io.Writer) error) (string, error) {
	out := &stuckOnce{on: s.slow}
	if err := write(out); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts = append(s.texts, out.Bytes())
	return fmt.Sprint(len(s.texts)), nil
}

type stuckOnce struct {
	bytes.Buffer
	on chan struct{}
}

func (s *stuckOnce) Write(p []byte) (int, error) {
	if s.on != nil && s.Len() > 0 {
		<-s.on
	}
	return s.Buffer.Write(p)
}

func newFlight(t *testing.T, cfg FlightConfig) (*Flight, *snapshots) {
	t.Helper()
	s := &snapshots{}
	cfg.Save, cfg.Files = s.save, func() Files { return Files{} }
	f, err := NewFlight(header(), kernel{}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return f, s
}

// checkBounds checks that a recorder keeps to its bounds, by counting all bytes anew.
func checkBounds(t *testing.T, f *Flight) {
	t.Helper()
	r := f.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := 0
	for _, k := range r.chunks {
		sum += k.cost()
	}
	sum += r.before.counted() + r.copied
	switch {
	case r.peak > r.limit || r.used() > r.limit || sum > r.limit:
		t.Fatalf("%d bytes, %d at most, %d counted, of %d", r.used(), r.peak, sum, r.limit)
	case len(r.chunks) > 1 && r.chunks[len(r.chunks)-1].chunk.until-r.chunks[0].chunk.from > r.span:
		t.Fatalf("%v to %v, of %v", r.chunks[0].chunk.from, r.chunks[len(r.chunks)-1].chunk.until, r.span)
	}
}

// counted is what size returns, counted anew.
func (s *before) counted() (n int) {
	for _, e := range s.sent {
		n += sizeOf(e)
	}
	for _, c := range s.cpus {
		n += cpuBytes + len(c.inside)*insideBytes
	}
	return n
}

// However much comes, and whatever it is, a recorder has no more bytes and no more time than it may. What it saves meanwhile can be read.
func TestFlightKeepsToItsBounds(t *testing.T) {
	for seed := range uint64(2) {
		rnd := rand.New(rand.NewPCG(seed, 9))
		span := time.Duration(5+rnd.IntN(20)) * time.Second
		f, saved := newFlight(t, FlightConfig{Bytes: MinFlight, Span: span, Before: time.Second, After: 100 * time.Millisecond})
		s := newScript(seed, 0)
		f.Begin(s.now)
		for i := range 150 {
			b := wild(s, rnd)
			f.Batch(b)
			if rnd.IntN(10) == 0 {
				f.Take(Snapshot{Trigger: "t", From: s.now, Until: s.now, Asked: rnd.IntN(2) == 0})
			}
			if i%10 == 0 {
				checkBounds(t, f)
			}
		}
		became := f.Close()
		checkBounds(t, f)
		if became.Peak > uint64(MinFlight) || len(saved.texts) == 0 || len(became.Kept) == 0 {
			t.Errorf("%+v", became)
		}
		for _, k := range became.Kept {
			if k.Failed != "" && k.Failed != errTooFew.Error() { // events come faster here than they can be written
				t.Errorf("%+v", k)
			}
		}
		for _, text := range saved.texts {
			if _, r, err := read(bytes.NewReader(text)); err != nil || r.Header.Part == nil || r.End == nil {
				t.Fatalf("a snapshot cannot be read: %v", err)
			}
		}
	}
}

// What is kept is the latest, of as much as the bounds allow.
func TestFlightKeepsTheLatest(t *testing.T) {
	for name, tc := range map[string]struct {
		span   time.Duration
		events int // of a batch
	}{"bounded by bytes": {time.Hour, 3000}, "bounded by time": {5 * time.Second, 1}} {
		f, _ := newFlight(t, FlightConfig{Bytes: MinFlight, Span: tc.span})
		s, rnd := newScript(1, 0), rand.New(rand.NewPCG(2, 2))
		begin := s.now
		f.Begin(begin)
		for s.now < begin+30*time.Second {
			b := wild(s, rnd)
			b.Events = b.Events[:min(len(b.Events), tc.events)]
			f.Batch(b)
			for f.Waiting() > 0 {
				time.Sleep(time.Millisecond)
			}
			checkBounds(t, f)
		}
		f.ring.mu.Lock()
		chunks := f.ring.chunks
		first, last := chunks[0].chunk, chunks[len(chunks)-1].chunk
		f.ring.mu.Unlock()
		f.Close()
		if first.from <= begin+time.Second || last.until < s.now-2*flightTime || last.until-first.from < 2*time.Second {
			t.Errorf("%s: %v to %v of %v is kept", name, first.from-begin, last.until-begin, s.now-begin)
		}
	}
}

// wild is a batch in which hardly anything repeats.
func wild(s *script, rnd *rand.Rand) event.Batch {
	b := event.Batch{Lost: map[int]uint64{}}
	for range rnd.IntN(1500) {
		e := s.event()
		e.B, e.C = rnd.Uint64(), rnd.Uint64()
		if e.Sender != nil {
			e.Sender.Name, e.Sender.Stack = fmt.Sprint(rnd.Uint64()), make([]uint64, rnd.IntN(maxStack))
			for i := range e.Sender.Stack {
				e.Sender.Stack[i] = rnd.Uint64()
			}
		}
		b.Events = append(b.Events, e)
	}
	s.now += time.Duration(rnd.IntN(2e8))
	b.Until = s.now
	return b
}

// What waits to be compressed has the room that is kept for it, whatever the events are.
func TestFlightPieces(t *testing.T) {
	f, _ := newFlight(t, FlightConfig{Bytes: MinFlight, Span: time.Hour})
	f.w.enc.names = longNames{}
	s, rnd := newScript(1, 0), rand.New(rand.NewPCG(1, 1))
	longest := 0
	for range 20 {
		b := wild(s, rnd)
		for rest := b; ; {
			all := f.w.piece(&rest, lossyEvents, flightBytes)
			if longest = max(longest, cap(f.w.enc.buf)); all {
				break
			}
		}
	}
	f.Close()
	const tables, deflate = 3 << 20, 2 << 20 // of a decoder with lossyEvents, and others
	if room := (flightOwn - tables - deflate) / (flightQueue + 2); longest > room || longest < flightBytes {
		t.Errorf("a chunk of %d bytes; there is room for %d", longest, room)
	}
}

type longNames struct{ kernel }

func (longNames) Function(uint64) string { return strings.Repeat("f", 60) }

// A disk that does not answer costs the snapshot, never memory beyond the bound, and recording goes on.
func TestFlightWithAStuckDisk(t *testing.T) {
	f, saved := newFlight(t, FlightConfig{Bytes: MinFlight, Span: time.Hour, Before: time.Second, After: time.Millisecond})
	saved.slow = make(chan struct{})
	s, rnd := newScript(1, 0), rand.New(rand.NewPCG(2, 2))
	f.Begin(s.now)
	feed := func(n int) {
		for range n {
			f.Batch(wild(s, rnd))
			checkBounds(t, f)
		}
	}
	feed(100)
	if err := f.Take(Snapshot{Trigger: "first", From: s.now, Until: s.now}); err != nil {
		t.Fatal(err)
	}
	for !f.ringFull() {
		feed(10)
	}
	if err := f.Take(Snapshot{Trigger: "second", From: s.now, Until: s.now, Asked: true}); !errors.Is(err, ErrBusy) {
		t.Errorf("while another is written: %v", err)
	}
	close(saved.slow)
	for f.busy.Load() {
		time.Sleep(time.Millisecond)
	}
	feed(50)
	if err := f.Take(Snapshot{Trigger: "third", From: s.now, Until: s.now, Asked: true}); err != nil {
		t.Fatal(err)
	}
	became := f.Close()
	if len(became.Kept) != 2 || became.Kept[0].Failed != errTooFew.Error() || became.Kept[1].Failed != "" || became.PassedOver != 1 || became.Failed != 1 {
		t.Errorf("%+v", became)
	}
}

func (f *Flight) ringFull() bool {
	f.ring.mu.Lock()
	defer f.ring.mu.Unlock()
	return f.ring.full
}

// A storm of triggers is one snapshot for each time that has something new in it, and is counted.
func TestFlightInAStorm(t *testing.T) {
	f, saved := newFlight(t, FlightConfig{Bytes: MinFlight, Span: time.Minute, Before: 10 * time.Second, After: 2 * time.Second})
	const begin, every, n = time.Hour, 10 * time.Millisecond, 6000 // a minute
	f.Begin(begin)
	if err := f.Take(Snapshot{}); !errors.Is(err, ErrEarly) {
		t.Errorf("before the beginning: %v", err)
	}
	taken := 0
	for i := range n {
		at := begin + time.Duration(i)*every
		f.Batch(event.Batch{Events: []event.Event{{Kind: event.UserExit, Time: at}}, Until: at})
		if f.Take(Snapshot{Trigger: "storm", From: at, Until: at}) == nil {
			taken++
		}
		for f.busy.Load() || f.Waiting() > 0 {
			time.Sleep(time.Millisecond) // time passes faster than the disk writes
		}
	}
	became := f.Close()
	if taken != 5 || len(saved.texts) != 5 || len(became.Kept) != 5 || became.PassedOver != n-5 {
		t.Errorf("%d taken, %d saved, %+v", taken, len(saved.texts), became)
	}
}

// A recorder cannot be so small that nothing fits in.
func TestFlightTooSmall(t *testing.T) {
	for want, cfg := range map[string]FlightConfig{
		"takes at least 16 MiB":                           {Bytes: MinFlight - 1, Span: time.Hour},
		"of 12s is too short for snapshots of 10s before": {Bytes: MinFlight, Span: 12 * time.Second, Before: 10 * time.Second, After: time.Second},
	} {
		if _, err := NewFlight(header(), kernel{}, cfg); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A recording that is given up has all that was seen until then.
func TestAbortKeepsWhatWasSeen(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, header(), kernel{})
	if err != nil {
		t.Fatal(err)
	}
	w.Batch(event.Batch{Events: []event.Event{{Kind: event.UserExit, Time: time.Second}}, Until: 2 * time.Second})
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	items, r, err := read(&out)
	if err != nil || r.End != nil || eventsBetween(items, 0, time.Hour) != 1 {
		t.Errorf("%v, %v", items, err)
	}
}
