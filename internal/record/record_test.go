// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
)

// kernel names what is even.
type kernel struct{}

func (kernel) Function(addr uint64) string {
	if addr%2 == 0 {
		return fmt.Sprintf("function_%d", addr%100)
	}
	return hexadecimal(addr)
}

func (kernel) Syscall(number int) string { return fmt.Sprintf("call_%d", number) }

// script is what is recorded: items in order.
type script struct {
	items []Item
	now   time.Duration
	rnd   *rand.Rand
}

func newScript(seed uint64, batches int) *script {
	s := &script{now: 5 * time.Hour, rnd: rand.New(rand.NewPCG(seed, 0))}
	s.items = append(s.items, Begin{s.now + 7})
	for range batches {
		if s.rnd.IntN(20) == 0 {
			s.items = append(s.items, Found{CPU: s.rnd.IntN(300), TID: s.rnd.Uint32(), From: s.now + 1, At: s.now + 2})
		}
		if s.rnd.IntN(10) == 0 {
			s.items = append(s.items, LoopGap{CPU: s.rnd.IntN(4), Gap: noise.Gap{At: s.now - time.Duration(s.rnd.IntN(1e6)), Length: time.Duration(s.rnd.IntN(1e9))}})
		}
		if s.rnd.IntN(20) == 0 {
			s.items = append(s.items, Held{operation.Record{ID: s.rnd.Uint64(), Command: "ip\x1b[1m", Detail: strings.Repeat("x", s.rnd.IntN(5000)), Outcome: operation.Held, Held: 7}})
		}
		s.items = append(s.items, s.batch())
	}
	return s
}

func (s *script) batch() Batch {
	b := event.Batch{Lost: map[int]uint64{}, Events: []event.Event{}}
	for range s.rnd.IntN(200) {
		b.Events = append(b.Events, s.event())
	}
	if s.rnd.IntN(10) == 0 {
		b.Lost[s.rnd.IntN(300)] = s.rnd.Uint64N(5)
	}
	b.SendersMissed = s.rnd.IntN(10) == 0
	s.now += time.Duration(s.rnd.IntN(1e7))
	b.Until = s.now
	return Batch{b}
}

func (s *script) event() event.Event {
	kinds := slices.Collect(event.Kinds())
	s.now += time.Duration(s.rnd.IntN(1000))
	e := event.Event{
		Time: s.now, Kind: kinds[s.rnd.IntN(len(kinds))], CPU: s.rnd.IntN(4), TID: s.rnd.Uint32N(3), UserIP: s.rnd.Uint64N(2) << 40,
		A: s.rnd.Uint64(), B: s.rnd.Uint64N(3), C: s.rnd.Uint64N(2),
		Watched: s.rnd.IntN(2) == 0,
	}
	switch {
	case e.Kind.HasTask():
		e.Throttled, e.Frozen = s.rnd.IntN(5) == 0, s.rnd.IntN(5) == 0
		e.Task = &event.Task{
			TID: s.rnd.Uint32N(4), PID: s.rnd.Uint32N(2), Name: "task", Kernel: s.rnd.IntN(2) == 0, Watched: s.rnd.IntN(2) == 0,
			Born: time.Duration(s.rnd.IntN(2)), Switches: s.rnd.Uint64(),
		}
	case e.Kind.IsSend():
		e.Sender = &event.Sender{
			Conditional: s.rnd.IntN(2) == 0, Shown: s.rnd.IntN(2) == 0, PID: s.rnd.Uint32N(2), Name: "sender", Cgroup: s.rnd.Uint64N(2),
			Stack: make([]uint64, s.rnd.IntN(4)),
		}
		for i := range e.Sender.Stack {
			e.Sender.Stack[i] = s.rnd.Uint64N(3) << 60
		}
	}
	return e
}

// recording is what a writer makes of the items.
func (s *script) recording(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, header(), kernel{})
	if err != nil {
		t.Fatal(err)
	}
	for _, item := range s.items {
		record(w, item)
	}
	if err := w.Close(&End{Report: &report.Report{Version: "test"}, Ending: Ending{Missed: 7}}); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func header() Header {
	cpus, _ := cpulist.New(1, 3)
	return Header{Version: "test", CPUs: cpus, Devices: map[int]string{5: "eth0"}, Sources: []Source{{Name: "irq:softirq_entry", Kind: event.SoftirqEnter, Also: []event.Kind{event.SoftirqExit}, Missing: "not there"}}}
}

func record(w *Writer, item Item) {
	switch item := item.(type) {
	case Batch:
		w.Batch(item.Batch)
	case Begin:
		w.Begin(item.At)
	case Found:
		w.Found(item)
	case LoopGap:
		w.LoopGap(item)
	case Held:
		w.Held(item.Record)
	}
}

// read returns all items of a recording, with events of their own, and the reader.
func read(in io.Reader) ([]Item, *Reader, error) {
	r, err := NewReader(in)
	if err != nil {
		return nil, nil, err
	}
	var items []Item
	var begun Begin
	for {
		item, err := r.Next()
		if errors.Is(err, io.EOF) {
			return items, r, nil
		}
		if err != nil {
			return items, r, err
		}
		if b, ok := item.(Batch); ok {
			b.Events = slices.Clone(b.Events)
			item = b
		}
		if _, begins := item.(Begin); !begins || item != Item(begun) { // each chunk repeats it
			items = append(items, item)
		}
		if b, ok := item.(Begin); ok {
			begun = b
		}
	}
}

// What is read is what was written: each event with all its fields, losses, times, and the names of what events carry as numbers.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(5) {
		s := newScript(seed, 150)
		got, r, err := read(bytes.NewReader(s.recording(t)))
		if err != nil {
			t.Fatal(err)
		}
		want := withoutIdle(s.items)
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d items, want %d", seed, len(got), len(want))
		}
		for i := range want {
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("seed %d: item %d is\n%+v, want\n%+v", seed, i, got[i], want[i])
			}
		}
		checkNames(t, r, want)
		if r.End == nil || r.End.Ending.Missed != 7 || r.End.Report.Version != "test" {
			t.Errorf("the end is %+v", r.End)
		}
		if h := r.Header; !h.CPUs.Equal(header().CPUs) || h.Devices[5] != "eth0" || !reflect.DeepEqual(h.Sources[0], header().Sources[0]) {
			t.Errorf("the header is %+v", h)
		}
	}
}

// withoutIdle leaves out batches in which nothing is, unless what follows needs their end.
func withoutIdle(items []Item) []Item {
	idle := func(i Item) bool {
		b, ok := i.(Batch)
		return ok && len(b.Events) == 0 && len(b.Lost) == 0 && !b.SendersMissed
	}
	var kept []Item
	for i, item := range items {
		if next, ok := nextBatch(items[i+1:]); ok && idle(item) && len(next.Lost) == 0 && !next.SendersMissed {
			continue
		}
		kept = append(kept, item)
	}
	return kept
}

func nextBatch(items []Item) (Batch, bool) {
	for _, item := range items {
		if b, ok := item.(Batch); ok {
			return b, true
		}
	}
	return Batch{}, false
}

func checkNames(t *testing.T, r *Reader, items []Item) {
	t.Helper()
	for _, item := range items {
		b, _ := item.(Batch)
		for _, e := range b.Events {
			switch {
			case e.Kind == event.Timer && r.Names().Function(e.A) != (kernel{}).Function(e.A),
				e.Kind == event.SendWork && r.Names().Function(e.B) != (kernel{}).Function(e.B),
				e.Kind == event.SyscallEnter && r.Names().Syscall(int(e.A)) != (kernel{}).Syscall(int(e.A)):
				t.Errorf("%v %#x %#x: its names are %s, %s, %s", e.Kind, e.A, e.B, r.Names().Function(e.A), r.Names().Function(e.B), r.Names().Syscall(int(e.A)))
			case e.Sender != nil:
				for _, addr := range e.Sender.Stack {
					if got, want := r.Names().Function(addr), (kernel{}).Function(addr); got != want {
						t.Errorf("%#x on a stack is %s, want %s", addr, got, want)
					}
				}
			}
		}
	}
}

// cuts returns lengths of parts of a recording: all about the borders of chunks, and some others.
func (s *script) cuts(whole []byte) []int {
	cuts := []int{len(whole) - 1}
	for border := range len(whole) {
		if bytes.HasPrefix(whole[border:], []byte(dataChunk)) || bytes.HasPrefix(whole[border:], []byte(endChunk)) {
			cuts = append(cuts, border-1, border, border+1, border+chunkHeader-1, border+chunkHeader, border+chunkHeader+1)
		}
	}
	for range 50 {
		cuts = append(cuts, s.rnd.IntN(len(whole)))
	}
	return cuts
}

// A recording that is cut off anywhere is read up to its last whole chunk.
func TestExploreEveryTruncation(t *testing.T) {
	s := newScript(1, 600)
	whole := s.recording(t)
	all, _, err := read(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	for _, n := range s.cuts(whole) {
		items, r, err := read(bytes.NewReader(whole[:n]))
		switch {
		case err != nil && (r != nil || !errors.Is(err, ErrNotRecording) && !errors.Is(err, ErrFormat)):
			t.Fatalf("the first %d of %d bytes: %v", n, len(whole), err)
		case err != nil:
			continue // within the header
		case r.End != nil:
			t.Fatalf("the first %d of %d bytes have an end", n, len(whole))
		case len(items) > 0 && !reflect.DeepEqual(items, all[:len(items)]):
			t.Fatalf("the first %d of %d bytes give other items", n, len(whole))
		}
		most = max(most, len(items))
	}
	if most != len(all) {
		t.Errorf("at most %d of %d items were read from parts", most, len(all))
	}
}

// A damaged chunk is a gap, as long as what it held; what comes after it is read.
func TestDamage(t *testing.T) {
	whole := newScript(2, 3000).recording(t)
	at := bytes.LastIndex(whole[:len(whole)/2], []byte(dataChunk))
	whole[at+chunkHeader+100] ^= 1
	items, r, err := read(bytes.NewReader(whole))
	if err != nil || r.End == nil {
		t.Fatalf("err %v, end %v", err, r.End)
	}
	gaps := 0
	for i, item := range items {
		if g, ok := item.(Gap); ok {
			gaps++
			if before, ok := items[i-1].(Batch); !ok || before.Until != g.From || g.Until <= g.From || g.Events == 0 {
				t.Errorf("a gap %+v after %v", g, before.Until)
			}
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps, want 1", gaps)
	}
}

// Times in the header of a damaged chunk may be what is damaged: the gap ends where the next chunk begins.
func TestDamagedHeader(t *testing.T) {
	whole := newScript(2, 3000).recording(t)
	intact, _, err := read(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.LastIndex(whole[:len(whole)/2], []byte(dataChunk))
	whole[at+22] ^= 0x40 // of the time until which it goes
	items, r, err := read(bytes.NewReader(whole))
	if err != nil || r.End == nil {
		t.Fatalf("err %v, end %v", err, r.End)
	}
	i := slices.IndexFunc(items, func(i Item) bool { _, ok := i.(Gap); return ok })
	if i < 0 {
		t.Fatal("no gap")
	}
	behind := items[i+1:]
	from := intact[len(intact)-len(behind)-1].(Batch).Until
	if g := items[i].(Gap); g.From != items[i-1].(Batch).Until || g.Until != from {
		t.Errorf("the gap is %+v, want until %d", g, from)
	}
}

// Nothing is known of files that nobody looked for; of those looked for it is known that they are not there.
func TestFilesOfARecording(t *testing.T) {
	machine := fstest.MapFS{"proc/cmdline": {Data: []byte("quiet")}, "sys/a/x": {Data: []byte("1")}, "sys/b/x": {Data: []byte("2")}}
	files := Capture(machine, []string{"proc/cmdline", "sys/*/x", "proc/none"})
	if text, err := fs.ReadFile(files, "sys/b/x"); err != nil || string(text) != "2" {
		t.Errorf("%q, %v", text, err)
	}
	for pattern, want := range map[string][]string{"sys/*/x": {"sys/a/x", "sys/b/x"}, "proc/none": nil} {
		if got, err := fs.Glob(files, pattern); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", pattern, got, err)
		}
	}
	if got, err := fs.Glob(files, "sys/a/*"); err == nil {
		t.Errorf("what was not looked for is %q", got)
	}
}

// stuck is a disk that does not answer until it is released.
type stuck struct {
	release chan struct{}
	bytes.Buffer
	wrote int
}

func (s *stuck) Write(p []byte) (int, error) {
	if s.wrote++; s.wrote > 1 { // the header
		<-s.release
	}
	return s.Buffer.Write(p)
}

// While the disk does not answer nothing waits for it. What finds no room is left out, and the recording has that as a gap with
// the number of events.
func TestDiskThatDoesNotKeepUp(t *testing.T) {
	disk := &stuck{release: make(chan struct{})}
	w, err := NewWriter(disk, Header{}, kernel{})
	if err != nil {
		t.Fatal(err)
	}
	const batches = 3 * queueLength
	for i := range batches {
		at := time.Duration(i+1) * chunkTime // each is a chunk
		w.Batch(event.Batch{Events: []event.Event{{Kind: event.UserExit, Time: at}}, Until: at})
	}
	close(disk.release)
	if err := w.Close(&End{}); err != nil {
		t.Fatal(err)
	}
	items, _, err := read(&disk.Buffer)
	if err != nil {
		t.Fatal(err)
	}
	var recorded, missing int
	for _, item := range items {
		switch item := item.(type) {
		case Batch:
			recorded += len(item.Events)
		case Gap:
			missing += int(item.Events)
		}
	}
	if recorded+missing != batches || missing == 0 || recorded < queueLength {
		t.Errorf("%d events recorded, %d missing, of %d", recorded, missing, batches)
	}
}

// full is a disk with room for so many bytes.
type full struct {
	bytes.Buffer
	room int
}

func (f *full) Write(p []byte) (int, error) {
	if f.Len()+len(p) > f.room {
		n, _ := f.Buffer.Write(p[:f.room-f.Len()])
		return n, errors.New("no space left on device")
	}
	return f.Buffer.Write(p)
}

// A full disk ends the recording, with an error at its end; what fitted in is readable.
func TestFullDisk(t *testing.T) {
	disk := &full{room: 700_000}
	w, err := NewWriter(disk, header(), kernel{})
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(3, 3000)
	for _, item := range s.items {
		record(w, item)
	}
	if err := w.Close(&End{}); err == nil || err.Error() != "writing a recording: no space left on device" {
		t.Fatalf("err = %v", err)
	}
	items, r, err := read(&disk.Buffer)
	if err != nil || r.End != nil || len(items) == 0 || !reflect.DeepEqual(items, withoutIdle(s.items)[:len(items)]) {
		t.Errorf("%d items, end %v, err %v", len(items), r.End, err)
	}
}

// Nothing of a chunk is needed to read the next one: that is what cutting a recording relies on.
func TestChunksStandAlone(t *testing.T) {
	whole := newScript(4, 3000).recording(t)
	all, _, err := read(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.Index(whole, []byte(dataChunk))
	second := first + 4 + bytes.Index(whole[first+4:], []byte(dataChunk))
	items, _, err := read(bytes.NewReader(slices.Concat(whole[:first], whole[second:])))
	if err != nil || len(items) < 2 || items[0] != all[0] || !reflect.DeepEqual(items[1:], all[len(all)-len(items)+1:]) {
		t.Errorf("%d items of %d, err %v: they are not the beginning and the last ones", len(items), len(all), err)
	}
}

func TestForeignFiles(t *testing.T) {
	whole := newScript(5, 3).recording(t)
	for name, tc := range map[string]struct {
		text []byte
		want error
	}{
		"empty":        {nil, ErrNotRecording},
		"a report":     {[]byte(`{"schema": 2}`), ErrNotRecording},
		"only a start": {[]byte("taskiso recording 2"), ErrFormat},
		"older":        {bytes.Replace(whole, []byte("recording 2"), []byte("recording 1"), 1), ErrOlder},
		"newer":        {bytes.Replace(whole, []byte("recording 2"), []byte("recording 3"), 1), ErrNewer},
		"no header":    {[]byte(magic), ErrFormat},
		"other chunk":  {append([]byte(magic), bytes.Repeat([]byte("x"), 100)...), ErrFormat},
	} {
		if _, _, err := read(bytes.NewReader(tc.text)); !errors.Is(err, tc.want) {
			t.Errorf("%s: err = %v, want %v", name, err, tc.want)
		}
	}
}

// Two recordings into one file would both be lost. What is not a regular file is refused, and a link is replaced.
func TestCreate(t *testing.T) {
	dir := t.TempDir()
	name := dir + "/app.rec"
	if err := os.WriteFile(name, []byte("older"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(name); string(text) != "older" {
		t.Errorf("before it begins the file holds %q", text)
	}
	if err := f.Begin(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || info.Size() != 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("after it has begun: %v, %v", info, err)
	}
	if _, err := Create(name); err == nil || err.Error() != "recording to "+name+": another taskiso records to it now; choose another name" {
		t.Errorf("a second one: %v", err)
	}
	f.Discard()
	if _, err := os.Stat(name); err != nil {
		t.Errorf("a recording that has begun is gone: %v", err)
	}
	again, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	again.Discard()
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	if _, err := Create(dir); err == nil {
		t.Error("a directory was taken")
	}
}

func FuzzReader(f *testing.F) {
	s := newScript(6, 30)
	var t testing.T
	whole := s.recording(&t)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, text []byte) {
		items, _, err := read(bytes.NewReader(text))
		if err != nil && !errors.Is(err, ErrNotRecording) && !errors.Is(err, ErrOlder) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrFormat) {
			t.Errorf("err = %v", err)
		}
		var until time.Duration
		for _, item := range items {
			if b, ok := item.(Batch); ok && b.Until < until {
				t.Errorf("a batch until %v after %v", b.Until, until)
			}
		}
	})
}

// FuzzRecords decodes records whose checksum and compression are right.
func FuzzRecords(f *testing.F) {
	w := newEncoder(kernel{})
	for _, item := range newScript(7, 5).items {
		if b, ok := item.(Batch); ok {
			w.batch(b.Batch)
		}
	}
	f.Add(w.buf)
	f.Fuzz(func(t *testing.T, records []byte) {
		c := chunk{kind: dataChunk, until: math.MaxInt64, content: newDeflater().compress(records)}
		d := newDecoder(c, kinds(), &Recorded{functions: map[uint64]string{}, syscalls: map[uint64]string{}}, nil)
		for {
			item, err := d.next()
			if err != nil {
				return
			}
			if b, ok := item.(Batch); ok {
				for _, e := range b.Events {
					if (e.Task != nil) != e.Kind.HasTask() || (e.Sender != nil) != e.Kind.IsSend() || e.Time > b.Until {
						t.Fatalf("%+v in a batch until %v", e, b.Until)
					}
				}
			}
		}
	})
}

// A reader in another language, made from the description of the format, counts the same events, also where some are damaged.
func TestDescription(t *testing.T) {
	whole := newScript(8, 500).recording(t)
	b := borders(t, whole)
	header, content := bytes.Clone(whole), bytes.Clone(whole)
	header[b[1]+1] ^= 1
	content[b[2]-1] ^= 1
	for _, recording := range [][]byte{whole, header, content} {
		name := t.TempDir() + "/a.rec"
		if err := os.WriteFile(name, recording, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := exec.Command("python3", "../../examples/recording/read.py", name).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, got)
		}
		items, _, err := read(bytes.NewReader(recording))
		if err != nil {
			t.Fatal(err)
		}
		if want := totals(items); string(got) != want {
			t.Errorf("it prints\n%s\nwant\n%s", got, want)
		}
	}
}

// totals are what the reader of the example prints.
func totals(items []Item) string {
	counts := make(map[string]int)
	var lost, missing, damaged, held uint64
	for _, item := range items {
		if gap, ok := item.(Gap); ok {
			damaged, missing = damaged+1, missing+uint64(gap.Events)
		}
		switch item := item.(type) {
		case LoopGap:
			counts[fmt.Sprintf("gap of the loop cpu %d", item.CPU)]++
		case Held:
			held++
		}
		b, _ := item.(Batch)
		for _, e := range b.Events {
			counts[fmt.Sprintf("%v cpu %d", e.Kind, e.CPU)]++
		}
		for _, n := range b.Lost {
			lost += n
		}
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&text, "%s: %d\n", key, counts[key])
	}
	fmt.Fprintf(&text, "held %d, lost %d, missing %d, damaged %d, ended\n", held, lost, missing, damaged)
	return text.String()
}

// BenchmarkWriter writes the events of system calls of one thread, as many as a busy CPU has; BenchmarkReader reads them.
func BenchmarkWriter(b *testing.B) {
	b.ReportAllocs()
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{}, kernel{})
	if err != nil {
		b.Fatal(err)
	}
	events := 0
	for b.Loop() {
		batch := callsOf(events)
		w.Batch(batch)
		events += len(batch.Events)
	}
	if err := w.Close(&End{}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
	b.ReportMetric(float64(out.Len())/float64(events), "bytes/event")
}

// callsOf returns 10 ms of 200,000 events a second, after so many.
func callsOf(before int) event.Batch {
	const events = 2000
	b := event.Batch{Events: make([]event.Event, 0, events)}
	for i := range events {
		now := time.Duration(before+i) * 5 * time.Microsecond
		e := event.Event{Kind: event.SyscallEnter, Time: now + time.Duration(i*7919%1000), CPU: 3, TID: 7, UserIP: 0x7f0012345678, A: 110, Watched: true}
		if i%2 == 1 {
			e.Kind, e.B = event.SyscallExit, 1
		}
		b.Events = append(b.Events, e)
		b.Until = e.Time
	}
	return b
}

func BenchmarkReader(b *testing.B) {
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{}, kernel{})
	if err != nil {
		b.Fatal(err)
	}
	const batches = 100
	for i := range batches {
		w.Batch(callsOf(i * 2000))
	}
	if err := w.Close(&End{}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := NewReader(bytes.NewReader(out.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(batches*2000), "ns/event")
}

// What a recorder that was killed before Begin has left is removed; what others write now is not.
func TestAbandonedFiles(t *testing.T) {
	dir := t.TempDir()
	create := func(age time.Duration) *File {
		f, err := Create(filepath.Join(dir, "a.rec"))
		if err != nil {
			t.Fatal(err)
		}
		then := time.Now().Add(-age)
		if err := os.Chtimes(f.Name(), then, then); err != nil {
			t.Fatal(err)
		}
		return f
	}
	writing, young, abandoned := create(time.Hour), create(0), create(time.Hour)
	defer writing.Discard()
	for _, f := range []*File{young, abandoned} {
		f.Close() // as its end does
	}
	other := filepath.Join(dir, ".taskiso-report")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(other, time.Time{}, time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	if err := RemoveAbandoned(dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{writing.Name(): true, young.Name(): true, abandoned.Name(): false, other: true} {
		if _, err := os.Lstat(name); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}
