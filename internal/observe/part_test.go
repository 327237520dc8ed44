// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/record"
	"github.com/taskiso/taskiso/internal/report"
)

// busy makes what happens on CPU 3 and 2 in some seconds: thread 7 has system calls, timers that were armed long before, calls of
// another CPU, and sleeps until it is woken; thread 8 computes on CPU 2, and is interrupted rarely.
type busy struct {
	rnd     *rand.Rand
	now     time.Duration
	batches []event.Batch
	events  []event.Event // of the batch at hand
	until   time.Duration
	sleeps  uint64
	calm    bool // thread 8 is never interrupted
}

const busyBegin = time.Hour

func newBusy(seed uint64, length time.Duration) *busy {
	b := &busy{rnd: rand.New(rand.NewPCG(seed, 7)), now: busyBegin, until: busyBegin}
	b.arm()
	b.add(taskOn(2, 8, b.now), taskOn(3, 7, b.now), on(2, 8, in(event.UserEnter, b.now+10)), in(event.UserEnter, b.now+10))
	b.goOn(length)
	return b
}

// goOn makes what happens in some time more.
func (b *busy) goOn(length time.Duration) {
	for end := b.now + length; b.now < end; {
		b.now += time.Duration(b.rnd.IntN(3e6))
		b.flush()
		b.one()
	}
	b.now += 20 * time.Millisecond
	b.flush()
}

func (b *busy) add(events ...event.Event) {
	b.events = append(b.events, events...)
	b.now = max(b.now, events[len(events)-1].Time)
}

// flush ends batches, which are of 10 ms each.
func (b *busy) flush() {
	for b.now-b.until > 10*time.Millisecond {
		b.until += 10 * time.Millisecond
		n, _ := slices.BinarySearchFunc(b.events, b.until, func(e event.Event, t time.Duration) int { return int(e.Time - t) })
		b.batches = append(b.batches, event.Batch{Events: slices.Clone(b.events[:n]), Until: b.until, Lost: map[int]uint64{}})
		b.events = b.events[n:]
	}
}

func on(cpu int, tid uint32, e event.Event) event.Event {
	e.CPU, e.TID = cpu, tid
	return e
}

func taskOn(cpu int, tid uint32, at time.Duration) event.Event {
	e := on(cpu, 0, app(at))
	e.Task = &event.Task{TID: tid, PID: tid, Name: "app", Watched: true, Born: 1}
	return e
}

func other(at time.Duration, name string, tid uint32) event.Event {
	return event.Event{Kind: event.Switch, Time: at, CPU: 3, TID: 7, Watched: true, Task: &event.Task{TID: tid, PID: tid, Name: name, Kernel: true}}
}

func sent(kind event.Kind, at time.Duration, a, b, c uint64) event.Event {
	return event.Event{Kind: kind, Time: at, CPU: 0, TID: 99, A: a, B: b, C: c,
		Sender: &event.Sender{PID: 99, Name: "sender", Stack: []uint64{0x10, 0x30}, Shown: kind == event.SendCall}}
}

func (b *busy) arm() { b.add(sent(event.SendHRTimer, b.now, 3, 0x20, 0x777)) }

func (b *busy) one() {
	t := b.now
	switch b.rnd.IntN(20) {
	case 0:
		b.call(3, 7)
	case 1:
		if b.rnd.IntN(200) == 0 && !b.calm {
			b.call(2, 8)
		}
	case 2, 3:
		b.sleep()
	case 4, 5, 6:
		timer := in(event.HRTimer, t+20)
		timer.A, timer.B = 0x20, 0x777
		b.add(kernelStay(t, t+50, in(event.LocalTimerEnter, t+10), timer, in(event.LocalTimerExit, t+40))...)
	default:
		length := time.Duration(100 + b.rnd.IntN(200_000))
		call, exit := in(event.SyscallEnter, t+10), in(event.SyscallExit, t+length-10)
		call.A, exit.A = 1, 1
		b.add(kernelStay(t, t+length, call, exit)...)
	}
}

func (b *busy) call(cpu int, tid uint32) {
	t := b.now
	csd := in(event.CSDEnter, t+5030)
	csd.A, csd.B = 0x10, 0x555
	stay := kernelStay(t+5000, t+5060, in(event.CallFunctionSingleEnter, t+5010), csd, in(event.CSDExit, t+5040), in(event.CallFunctionSingleExit, t+5050))
	for i := range stay {
		stay[i] = on(cpu, tid, stay[i])
	}
	b.add(sent(event.SendCall, t, uint64(cpu), 0x10, 0x555))
	b.add(stay...)
}

// sleep lets thread 7 sleep up to 30 ms, and be woken.
func (b *busy) sleep() {
	t := b.now
	call, exit, away := in(event.SyscallEnter, t+10), in(event.SyscallExit, t), other(t+30, "swapper", 0)
	call.A, exit.A, away.B = 1, 1, 1
	b.add(in(event.UserExit, t), call, away)
	b.now += time.Duration(b.rnd.IntN(3e7))
	back := taskOn(3, 7, b.now+2000)
	b.sleeps++
	back.Task.Switches, back.Watched, back.TID = b.sleeps, false, 0
	wake := sent(event.SendWake, b.now, 3, 7, b.sleeps)
	exit.Time = b.now + 2100
	b.add(wake, back, exit, in(event.UserEnter, b.now+2200))
}

func onlyCPU(t *testing.T, cpus ...int) cpulist.Set {
	t.Helper()
	set, err := cpulist.New(cpus...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// recordBusy returns a recording of all that, and the breaks of the whole.
func recordBusy(t *testing.T, b *busy) ([]byte, []report.Break) {
	t.Helper()
	sources := []record.Source{{Name: "exit", Kind: event.UserExit}, {Name: "enter", Kind: event.UserEnter}, {Name: "migrate", Kind: event.Migrate}}
	cpus := onlyCPU(t, 2, 3)
	var out bytes.Buffer
	w, err := record.NewWriter(&out, record.Header{Version: "test", CPUs: cpus, NohzFull: cpus, Sources: sources, Started: time.Unix(1000, 0).UTC()}, symbols{})
	if err != nil {
		t.Fatal(err)
	}
	w.Begin(busyBegin + time.Microsecond)
	for _, batch := range b.batches {
		w.Batch(batch)
	}
	if err := w.Close(&record.End{Report: &report.Report{}}); err != nil {
		t.Fatal(err)
	}
	_, breaks := replay(t, out.Bytes())
	return out.Bytes(), breaks
}

func cut(t *testing.T, recording []byte, s record.Selection) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := record.Cut(bytes.NewReader(recording), &out, s); err != nil {
		t.Fatalf("%+v: %v", s, err)
	}
	return out.Bytes()
}

// within returns those breaks that a part from one time to another has whole, as the part counts the time.
func within(breaks []report.Break, s record.Selection) (inside []report.Break) {
	for _, b := range breaks {
		if b.At < s.From || b.At+b.Duration+b.Waited > s.Until || !s.CPUs.IsEmpty() && !s.CPUs.Contains(b.CPU) {
			continue
		}
		b.At -= s.From
		inside = append(inside, b)
	}
	return inside
}

// closed returns the breaks that were seen to their end.
func closed(breaks []report.Break) []report.Break {
	return slices.DeleteFunc(breaks, func(b report.Break) bool { return b.Open || b.AtLeast })
}

func checkBreaks(t *testing.T, what any, got, want []report.Break) {
	t.Helper()
	a, b := closed(got), closed(want)
	for i := range min(len(a), len(b)) {
		if x, y := asJSON(t, a[i]), asJSON(t, b[i]); x != y {
			t.Fatalf("%+v: break %d of %d is\n%s\nwant\n%s", what, i, len(a), x, y)
		}
	}
	if len(a) != len(b) {
		t.Fatalf("%+v: %d breaks, want %d", what, len(a), len(b))
	}
}

// A part has the breaks of the whole that are in it, with their senders, wherever it begins and ends: also where what runs, and what is
// sent, began long before. A part of a part is one.
func TestPartHasTheBreaksOfTheWhole(t *testing.T) {
	const length = 15 * time.Second
	b := newBusy(1, length)
	recording, all := recordBusy(t, b)
	if rare := slices.IndexFunc(all, func(b report.Break) bool { return b.CPU == 2 }); len(all) < 4000 || rare < 0 {
		t.Fatalf("%d breaks, the first on CPU 2 is %d", len(all), rare)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 12 {
		from := time.Duration(rnd.Int64N(int64(length)))
		s := record.Selection{From: from, Until: from + time.Duration(1+rnd.Int64N(int64(length-from)))}
		if rnd.IntN(3) == 0 {
			s.CPUs = onlyCPU(t, 2+rnd.IntN(2))
		}
		part := cut(t, recording, s)
		r, breaks := replay(t, part)
		checkBreaks(t, s, breaks, within(all, s))
		checkPart(t, r, s)
		inner := record.Selection{From: (s.Until - s.From) / 3, Until: (s.Until - s.From) / 2}
		if inner.Until <= inner.From || s.From+inner.From >= length {
			continue
		}
		r, breaks = replay(t, cut(t, part, inner))
		s.From, s.Until = s.From+inner.From, s.From+inner.Until
		checkBreaks(t, s, breaks, within(all, s))
		checkPart(t, r, s)
	}
}

// checkPart checks that a report names the part, and that nothing passes by it.
func checkPart(t *testing.T, r *report.Report, s record.Selection) {
	t.Helper()
	if r.Part == nil || r.Part.From != s.From || r.Part.Until > s.Until || !r.Part.CPUs.Equal(s.CPUs) || r.Duration != r.Part.Until-r.Part.From {
		t.Fatalf("%+v: part %+v of %v", s, r.Part, r.Duration)
	}
	if !r.Started.Equal(time.Unix(1000, 0).Add(s.From)) || !strings.Contains(r.Unjudged(), "part of a recording") || r.Lost.Events != 0 {
		t.Fatalf("%+v: began %v, %s", s, r.Started, r.Unjudged())
	}
	for _, c := range r.CPUs {
		if c.Verdict == report.VerdictQuiet || c.Interrupts != nil || c.Unrecorded != 0 || c.User+c.Kernel+c.Waited > r.Duration {
			t.Fatalf("%+v: %+v", s, c)
		}
	}
}

// A part of a thread that is never interrupted has its time in user mode, although nothing is recorded of it there.
func TestPartOfAQuietThread(t *testing.T) {
	b := newBusy(1, 3*time.Second)
	recording, all := recordBusy(t, b)
	s := record.Selection{From: time.Second, Until: 2 * time.Second, CPUs: onlyCPU(t, 2)}
	if within(all, s) != nil {
		t.Skip("it is interrupted")
	}
	r, _ := replay(t, cut(t, recording, s))
	if len(r.CPUs) != 1 || r.CPUs[0].User != time.Second || r.CPUs[0].Verdict != report.VerdictUnknown {
		t.Errorf("%+v", r.CPUs)
	}
}

// A part of one thread has its breaks, and nothing of others.
func TestPartOfOneThread(t *testing.T) {
	b := newBusy(2, 5*time.Second)
	recording, all := recordBusy(t, b)
	for tid, cpu := range map[uint32]int{7: 3, 8: 2} {
		s := record.Selection{From: time.Second, Until: 4 * time.Second, TID: tid}
		r, breaks := replay(t, cut(t, recording, s))
		want := slices.DeleteFunc(within(all, s), func(b report.Break) bool { return b.CPU != cpu })
		checkBreaks(t, tid, breaks, want)
		if r.Part.TID != tid || len(r.CPUs) != 1 || r.CPUs[0].CPU != cpu {
			t.Errorf("thread %d: %+v of %+v", tid, r.CPUs, r.Part)
		}
		if text := strings.Join(r.Limits, "\n"); !strings.Contains(text, "nothing is known of the breaks of others") {
			t.Error(text)
		}
	}
}

// What is missing from a recording is missing from its parts.
func TestPartWithLosses(t *testing.T) {
	b := newBusy(1, 10*time.Second)
	b.batches[300].Lost = map[int]uint64{3: 5}
	recording, _ := recordBusy(t, b)
	for _, tc := range []struct {
		from, until time.Duration
		lost        uint64
	}{{time.Second, 2 * time.Second, 0}, {2 * time.Second, 4 * time.Second, 5}, {3005 * time.Millisecond, 4 * time.Second, 5}, {4 * time.Second, 5 * time.Second, 0}} {
		r, _ := replay(t, cut(t, recording, record.Selection{From: tc.from, Until: tc.until}))
		if r.Lost.Events != tc.lost {
			t.Errorf("%v to %v: %d lost events, want %d", tc.from, tc.until, r.Lost.Events, tc.lost)
		}
	}
}

// A thread that was isolated before a part is isolated since the part begins, and did not enter in it.
func TestPartOfIsolation(t *testing.T) {
	b := newBusy(1, 6*time.Second)
	isolated, broken := in(event.Isolated, 0), in(event.Broken, 0)
	isolated.A, isolated.B, broken.A = 5, 10, 5
	for i, e := range map[int]event.Event{100: isolated, 350: broken} {
		e.Time = b.batches[i].Until
		b.batches[i].Events = append(b.batches[i].Events, e)
	}
	recording, _ := recordBusy(t, b)
	for _, tc := range []struct {
		from, isolated time.Duration
		breaks         uint64
	}{{2 * time.Second, time.Second, 0}, {3 * time.Second, 509999 * time.Microsecond, 1}, {4 * time.Second, 0, 0}} {
		r, _ := replay(t, cut(t, recording, record.Selection{From: tc.from, Until: tc.from + time.Second}))
		if tc.isolated == 0 && len(r.Isolation) == 0 {
			continue
		}
		if len(r.Isolation) != 1 || r.Isolation[0].Isolated != tc.isolated || r.Isolation[0].Breaks != tc.breaks || r.Isolation[0].Entered != 0 {
			t.Errorf("from %v: %+v", tc.from, r.Isolation)
		}
	}
}

// A thread that was found in user mode is in a part only if it, and the CPU on which it was, are.
func TestPartWithoutWhoWasFound(t *testing.T) {
	cpus := onlyCPU(t, 2, 3)
	var out bytes.Buffer
	w, err := record.NewWriter(&out, record.Header{NohzFull: cpus, Sources: []record.Source{{Kind: event.UserExit}, {Kind: event.UserEnter}}}, symbols{})
	if err != nil {
		t.Fatal(err)
	}
	w.Begin(time.Second)
	w.Found(record.Found{CPU: 2, TID: 8, From: time.Second, At: time.Second + 1})
	w.Batch(event.Batch{Events: []event.Event{taskOn(3, 7, 2*time.Second), in(event.UserEnter, 2*time.Second+10)}, Until: 9 * time.Second})
	if err := w.Close(&record.End{Report: &report.Report{}}); err != nil {
		t.Fatal(err)
	}
	for _, from := range []time.Duration{0, 5 * time.Second} {
		for cpu, s := range map[int]record.Selection{3: {CPUs: onlyCPU(t, 3)}, 2: {TID: 8}} {
			s.From, s.Until = from, 8*time.Second
			r, _ := replay(t, cut(t, out.Bytes(), s))
			if len(r.CPUs) != 1 || r.CPUs[0].CPU != cpu || r.CPUs[0].User == 0 || r.Task.Threads != 1 {
				t.Errorf("%+v: %d threads, %+v", s, r.Task.Threads, r.CPUs)
			}
		}
	}
}

// A thread that goes to sleep on a CPU and runs on another one, which was left out, is not known to sleep on.
func TestPartOfAThreadThatLeft(t *testing.T) {
	var out bytes.Buffer
	w, err := record.NewWriter(&out, record.Header{Sources: []record.Source{{Kind: event.Switch}, {Kind: event.Migrate}}}, symbols{})
	if err != nil {
		t.Fatal(err)
	}
	call, away, back := in(event.SyscallEnter, 3*time.Second), other(3*time.Second+10, "swapper", 0), taskOn(5, 7, 4*time.Second)
	call.A, away.B, back.Task.Switches, back.Watched = 1, 1, 1, false
	w.Begin(time.Second)
	w.Batch(event.Batch{Events: []event.Event{taskOn(3, 7, 2*time.Second), in(event.SyscallEnter, 2*time.Second+10), call, away, back}, Until: 9 * time.Second})
	if err := w.Close(&record.End{Report: &report.Report{}}); err != nil {
		t.Fatal(err)
	}
	_, breaks := replay(t, cut(t, out.Bytes(), record.Selection{Until: 8 * time.Second, CPUs: onlyCPU(t, 3)}))
	for _, b := range breaks {
		if b.Waited != 0 || b.Open {
			t.Errorf("%+v", b)
		}
	}
	if len(breaks) == 0 {
		t.Error("there is no break")
	}
}
