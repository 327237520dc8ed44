// SPDX-License-Identifier: Apache-2.0

package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/event"
)

// small is a recording of some chunks, each with its end and an event or two.
func small(t *testing.T) []byte {
	t.Helper()
	return (&script{items: []Item{
		Begin{At: 1},
		Batch{event.Batch{Until: 1}}, // from here on
		one(2*chunkTime, event.Event{Kind: event.Timer, A: 4}),
		one(4*chunkTime, event.Event{Kind: event.SendCall, Sender: &event.Sender{PID: 5, Name: "sender", Stack: []uint64{2, 4}}}),
		one(6*chunkTime, event.Event{Kind: event.Switch, Task: &event.Task{TID: 7, Name: "task"}}),
	}}).recording(t)
}

// one is a batch of one event, at a time.
func one(at time.Duration, e event.Event) Batch {
	e.Time = at
	return Batch{event.Batch{Until: at, Events: []event.Event{e}, Lost: map[int]uint64{}}}
}

// borders returns where each chunk of a recording begins, and where the last one ends.
func borders(t *testing.T, whole []byte) []int {
	t.Helper()
	at := len(magic)
	borders := []int{at}
	for at < len(whole) {
		h, ok := parseHeader(whole[at:])
		if !ok {
			t.Fatalf("no chunk begins at %d", at)
		}
		at += chunkHeader + h.length
		borders = append(borders, at)
	}
	return borders
}

// A small recording that is cut off at any byte is read up to its last whole chunk.
func TestExploreTruncationAtEachByte(t *testing.T) {
	whole := small(t)
	all, _, err := read(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	borders := borders(t, whole)
	for n := range whole {
		items, r, err := read(bytes.NewReader(whole[:n]))
		if n < borders[1] {
			if !errors.Is(err, ErrNotRecording) && !errors.Is(err, ErrFormat) {
				t.Errorf("the first %d bytes: err = %v", n, err)
			}
			continue
		}
		chunks, _ := slices.BinarySearch(borders, n+1)
		data := chunks - 2 // without the head
		if want := all[:min(len(all), data+min(1, data))]; err != nil || r.End != nil || !reflect.DeepEqual(items, append([]Item(nil), want...)) {
			t.Fatalf("the first %d of %d bytes, %d chunks: err %v, end %v, items\n%v\nwant\n%v", n, len(whole), data, err, r.End, items, want)
		}
	}
}

// Whatever bit of a recording is wrong: it is noticed, and all other chunks are read.
func TestExploreEachBitDamaged(t *testing.T) {
	whole := small(t)
	all, _, err := read(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	borders := borders(t, whole)
	for bit := range 8 * len(whole) {
		damaged := bytes.Clone(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		items, r, err := read(bytes.NewReader(damaged))
		if bit/8 < borders[1] { // without its header nothing can be read
			if err == nil {
				t.Errorf("bit %d of byte %d: no error", bit%8, bit/8)
			}
			continue
		}
		if err != nil {
			t.Fatalf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
		if bit/8 >= borders[len(borders)-2] {
			if r.End != nil {
				t.Errorf("bit %d of byte %d: it has an end", bit%8, bit/8)
			}
			continue
		}
		checkOneGap(t, items, all, fmt.Sprintf("bit %d of byte %d", bit%8, bit/8))
	}
}

// checkOneGap checks that of all items those of one chunk, which has one batch, are a gap.
func checkOneGap(t *testing.T, items, all []Item, what string) {
	t.Helper()
	gap := slices.IndexFunc(items, func(i Item) bool { _, ok := i.(Gap); return ok })
	if gap < 0 {
		t.Fatalf("%s: no gap in %v", what, items)
	}
	got, want := batchesOf(items), batchesOf(all)
	for i, b := range want {
		if i >= len(got) || !reflect.DeepEqual(got[i], b) {
			want = slices.Delete(slices.Clone(want), i, i+1)
			break
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: batches are\n%v\nwant\n%v", what, got, want)
	}
}

func batchesOf(items []Item) []Item {
	return slices.DeleteFunc(slices.Clone(items), func(i Item) bool { _, ok := i.(Batch); return !ok })
}

// What stands where a chunk should begin is passed over up to the next one.
func TestRubbishBetweenChunks(t *testing.T) {
	whole := small(t)
	all, _, err := read(bytes.NewReader(whole))
	if err != nil {
		t.Fatal(err)
	}
	at := borders(t, whole)[2]
	for name, rubbish := range map[string][]byte{
		"a byte":             {0},
		"types":              bytes.Repeat([]byte("data"), 100_000),
		"more than a window": bytes.Repeat([]byte{1}, 3*searchWindow+7),
	} {
		items, r, err := read(bytes.NewReader(slices.Concat(whole[:at], rubbish, whole[at:])))
		if err != nil || r.End == nil || len(items) != len(all)+1 || !reflect.DeepEqual(batchesOf(items), batchesOf(all)) {
			t.Errorf("%s: err %v, items %v", name, err, items)
		}
	}
	for _, missing := range []int{1, 10, chunkHeader + 1} {
		items, r, err := read(bytes.NewReader(slices.Concat(whole[:at], whole[at+missing:])))
		if err != nil || r.End == nil {
			t.Fatalf("without %d bytes: err %v, end %v", missing, err, r.End)
		}
		checkOneGap(t, items, all, fmt.Sprintf("without %d bytes", missing))
	}
}

// What is written behind a recording that was cut off belongs to another one. A chunk that stands a second time belongs nowhere.
func TestChunksOfElsewhere(t *testing.T) {
	whole := small(t)
	b := borders(t, whole)
	items, r, err := read(bytes.NewReader(slices.Concat(whole[:b[2]], whole)))
	if err != nil || r.End != nil || len(batchesOf(items)) != 1 {
		t.Errorf("two recordings: err %v, end %v, items %v", err, r.End, items)
	}
	items, r, err = read(bytes.NewReader(slices.Concat(whole[:b[3]], whole[b[1]:b[2]], whole[b[3]:])))
	if gaps := len(items) - len(batchesOf(items)) - 1; err != nil || r.End == nil || len(batchesOf(items)) != 3 || gaps != 1 {
		t.Errorf("a chunk twice: err %v, end %v, items %v", err, r.End, items)
	}
}

// forever repeats a text.
type forever struct {
	text []byte
	at   int
	read int64
}

func (f *forever) Read(p []byte) (int, error) {
	n := copy(p, f.text[f.at:])
	f.at = (f.at + n) % len(f.text)
	f.read += int64(n)
	return n, nil
}

// A file without an end is given up where nothing of it can be read any more.
func TestExploreEndlessFiles(t *testing.T) {
	whole := small(t)
	b := borders(t, whole)
	claims := appendChunk(nil, chunk{kind: dataChunk, until: math.MaxInt64, content: make([]byte, 0)})
	for name, text := range map[string][]byte{
		"zeros":            make([]byte, 1000),
		"types":            []byte("data"),
		"one chunk":        whole[b[2]:b[3]],
		"damaged contents": append(bytes.Clone(whole[b[2]:b[3]-1]), 'x'),
		"empty chunks":     claims,
	} {
		in := &forever{text: text}
		items, r, err := read(io.MultiReader(bytes.NewReader(whole[:b[2]]), in))
		if err != nil || r.End != nil || len(batchesOf(items)) > 2 {
			t.Errorf("%s: err %v, end %v, items %v", name, err, r.End, items)
		}
		if in.read > maxDamage+maxChunk+searchWindow {
			t.Errorf("%s: %d bytes were read", name, in.read)
		}
	}
}

// What is read of a file that grows is what it holds by then. A named pipe is read as any file.
func TestFilesThatGrow(t *testing.T) {
	whole := small(t)
	b := borders(t, whole)
	name := t.TempDir() + "/pipe"
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(name); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("recording to a named pipe: %v", err)
	}
	written := make(chan error, 1)
	go func() {
		out, err := os.OpenFile(name, os.O_WRONLY, 0)
		for at := 0; err == nil && at < b[3]; at += 7 { // some bytes at a time
			_, err = out.Write(whole[at:min(at+7, b[3])])
		}
		written <- errors.Join(err, out.Close())
	}()
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	items, r, err := read(in)
	if err != nil || r.End != nil || len(batchesOf(items)) != 2 {
		t.Errorf("err %v, end %v, items %v", err, r.End, items)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// An error of the observer ends a recording without its end, and what was recorded until then stays.
func TestAbortKeepsWhatIsRecorded(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, header(), kernel{})
	if err != nil {
		t.Fatal(err)
	}
	want := one(7, event.Event{Kind: event.Timer, A: 4})
	w.Begin(1)
	w.Batch(want.Batch)
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	items, r, err := read(&out)
	if err != nil || r.End != nil || !reflect.DeepEqual(items, []Item{Begin{At: 1}, want}) {
		t.Errorf("err %v, end %v, items %v", err, r.End, items)
	}
}

// A chunk that no reader would take is left out, and a gap has its place.
func TestChunkTooLargeToBeRead(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, header(), kernel{})
	if err != nil {
		t.Fatal(err)
	}
	large := event.Batch{Until: 1}
	for i := range 1 << 17 {
		large.Events = append(large.Events, event.Event{Kind: event.SendCall, Time: 1, Sender: &event.Sender{PID: uint32(i), Stack: []uint64{uint64(i)}}})
	}
	last := one(9, event.Event{Kind: event.Timer, A: 4})
	w.Batch(large)
	w.Batch(last.Batch)
	if err := w.Close(&End{}); err != nil {
		t.Fatal(err)
	}
	items, r, err := read(&out)
	if want := []Item{Gap{From: 1, Until: 1, Events: 1 << 17}, last}; err != nil || r.End == nil || !reflect.DeepEqual(items, want) {
		t.Errorf("err %v, end %v, items %v", err, r.End, items)
	}
}

// What a reader keeps is bounded, whatever a file holds: its chunks, its names, what one text of JSON stands for.
func TestExploreMemoryOfAReader(t *testing.T) {
	const bound = 64 << 20
	for name, text := range map[string][]byte{
		"what cannot be compressed": hostileChunks(func(e *encoder, i uint64) { e.named(tagFunction, i, incompressible(i)) }),
		"names":                     hostileChunks(func(e *encoder, i uint64) { e.named(tagFunction, i, strings.Repeat("x", maxText)) }),
		"tasks": hostileChunks(func(e *encoder, i uint64) {
			e.task(&event.Task{Born: time.Duration(i), Name: strings.Repeat("\x01", maxText)})
		}),
		"short tasks": hostileChunks(func(e *encoder, i uint64) { e.task(&event.Task{Born: time.Duration(i)}) }),
		"stacks":      hostileChunks(func(e *encoder, i uint64) { e.stack(slices.Repeat([]uint64{i << 1}, maxStack)) }),
		"events": hostileChunks(func(e *encoder, i uint64) {
			e.event(&event.Event{Kind: event.Switch, Task: &event.Task{}})
		}),
	} {
		before := live()
		r, err := NewReader(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		most := uint64(0)
		for err == nil {
			_, err = r.Next()
			most = max(most, live())
		}
		t.Logf("%s: %d of %d KiB, %v", name, (most-before)>>10, len(text)>>10, err)
		if most-before > bound {
			t.Errorf("%s: %d MiB", name, (most-before)>>20)
		}
		runtime.KeepAlive(r)
	}
}

// live is how much memory is in use.
func live() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// hostileChunks has chunks of more records than a reader takes, and at their ends a batch.
func hostileChunks(record func(*encoder, uint64)) []byte {
	text := []byte(magic)
	d := newDeflater()
	text = appendChunk(text, chunk{kind: headChunk, content: bytes.Clone(d.compress(must(marshal(Header{Kinds: kinds()}, "header"))))})
	n := uint64(0)
	for range 2 {
		e := newEncoder(kernel{})
		for len(e.buf) < maxContent-2*maxText && e.events < 2*MaxEvents && e.room.entries < 2*maxEntries {
			n++
			record(e, n)
		}
		e.batch(event.Batch{Until: 1})
		text = appendChunk(text, chunk{kind: dataChunk, from: 1, until: 1, content: d.compress(e.buf)})
	}
	return text
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

func incompressible(i uint64) string {
	text := make([]byte, 0, maxText)
	for len(text) < maxText {
		i = i*6364136223846793005 + 1442695040888963407
		text = append(text, byte(i>>56))
	}
	return string(text)
}

// Texts of JSON whose values would take far more memory than the text are refused.
func TestJSONThatIsTooLarge(t *testing.T) {
	for _, element := range []string{"{},", "[],", "null,", `"",`} {
		list := `{"cpus":[` + strings.TrimSuffix(strings.Repeat(element, maxContent/len(element)-10), ",") + `]}`
		if isAffordable([]byte(list)) {
			t.Errorf("%s is affordable", list[:20])
		}
	}
	for _, text := range []string{`{"a":"` + strings.Repeat("{", 1<<20) + `"}`, `{"a":[` + strings.Repeat("1,", 1<<20) + `1]}`, `{"a":"\"{"}`} {
		if !isAffordable([]byte(text)) {
			t.Errorf("%s is not affordable", text[:8])
		}
	}
}
