// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
)

// The scripts of the tests happen on CPU 1, in the watched thread app, which
// leaves user mode at instruction 0xa, unless an event says otherwise. Times are
// in nanoseconds.
var (
	app     = event.Task{TID: 100, PID: 100, Name: "app", Watched: true}
	peer    = event.Task{TID: 101, PID: 100, Name: "peer", Watched: true}
	kworker = event.Task{TID: 7, PID: 7, Name: "kworker", Kernel: true}
	ksoft   = event.Task{TID: 8, PID: 8, Name: "ksoftirqd", Kernel: true}
	swapper = event.Task{Name: "swapper", Kernel: true}
)

const (
	scriptCPU = 1
	scriptIP  = 0xa
)

type change func(*event.Event)

func at(t int, kind event.Kind, changes ...change) event.Event {
	e := event.Event{Time: time.Duration(t), Kind: kind, CPU: scriptCPU, TID: app.TID, Watched: true, UserIP: scriptIP}
	for _, c := range changes {
		c(&e)
	}
	return e
}

func on(cpu int) change    { return func(e *event.Event) { e.CPU = cpu } }
func ip(ip uint64) change  { return func(e *event.Event) { e.UserIP = ip } }
func argA(v uint64) change { return func(e *event.Event) { e.A = v } }
func argB(v uint64) change { return func(e *event.Event) { e.B = v } }
func argC(v uint64) change { return func(e *event.Event) { e.C = v } }

func in(task event.Task) change {
	return func(e *event.Event) {
		e.TID, e.Watched = task.TID, task.Watched
		if task.Kernel {
			e.UserIP = 0
		}
	}
}

// States in which a thread gives way.
const (
	runnable = taskRunning
	sleeping = 1 // TASK_INTERRUPTIBLE
	stopped  = 4 // __TASK_STOPPED
	dead     = 0x80
)

func switched(t int, from, to event.Task, state uint64, changes ...change) event.Event {
	e := at(t, event.Switch, in(from), argA(uint64(to.TID)), argB(state))
	e.Task = &to
	for _, c := range changes {
		c(&e)
	}
	return e
}

func exec(t int, task event.Task, before uint32, changes ...change) event.Event {
	e := at(t, event.Exec, in(task), argB(uint64(before)))
	e.Task = &task
	for _, c := range changes {
		c(&e)
	}
	return e
}

// nmi ends at t after it lasted d.
func nmi(t, d int, changes ...change) event.Event {
	return at(t, event.NMI, append([]change{argB(uint64(d)), argC(1)}, changes...)...)
}

// queued is a function call sent to CPU 1 from CPU 0.
func queued(t int, sender string, csd uint64, changes ...change) event.Event {
	e := at(t, event.SendCall, on(0), argA(scriptCPU), argB(csd<<8), argC(csd))
	e.Sender = &event.Sender{PID: 1, Name: sender}
	for _, c := range changes {
		c(&e)
	}
	return e
}

// send is anything else that a sender on CPU 0 does to CPU 1.
func send(t int, kind event.Kind, sender string, b, c uint64) event.Event {
	e := at(t, kind, on(0), argA(scriptCPU), argB(b), argC(c))
	e.Sender = &event.Sender{PID: 1, Name: sender}
	return e
}

func reschedule(t int, sender string, changes ...change) event.Event {
	e := at(t, event.SendReschedule, on(0), argA(scriptCPU))
	e.Sender = &event.Sender{PID: 1, Name: sender}
	for _, c := range changes {
		c(&e)
	}
	return e
}

// called is the function of a csd, as it begins to run.
func called(t int, csd uint64, changes ...change) event.Event {
	return at(t, event.CSDEnter, append([]change{argA(csd << 8), argB(csd)}, changes...)...)
}

// recorder collects stays.
type recorder struct {
	*Builder
	stays []Stay
}

func newRecorder(tracked ...int) *recorder {
	set, err := cpulist.New(tracked...)
	if err != nil {
		panic(err)
	}
	r := &recorder{}
	r.Builder = NewBuilder(set, func(s *Stay) {
		kept := *s
		kept.Inside, kept.Spent = slices.Clone(s.Inside), slices.Clone(s.Spent) // their memory serves the next stay
		r.stays = append(r.stays, kept)
	})
	return r
}

// play hands over events as one batch that ends with the last of them.
func (r *recorder) play(events ...event.Event) {
	batch := event.Batch{Events: events}
	if n := len(events); n > 0 {
		batch.Until = events[n-1].Time
	}
	r.Add(batch)
}

// lose hands over events as one batch in which CPUs lost some more.
func (r *recorder) lose(cpus []int, events ...event.Event) {
	batch := event.Batch{Events: events, Lost: make(map[int]uint64)}
	if n := len(events); n > 0 {
		batch.Until = events[n-1].Time
	}
	for _, cpu := range cpus {
		batch.Lost[cpu] = 1
	}
	r.Add(batch)
}

func (r *recorder) shown() []string {
	shown := []string{}
	for i := range r.stays {
		shown = append(shown, show(&r.stays[i]))
	}
	return shown
}

// show writes a stay as
//
//	10-15 exact sys_enter quiet 5: sys_enter 5, softirq_entry 2<sender
//
// with the sender of each part behind it, and what differs from the usual
// thread, CPU and instruction in brackets.
func show(s *Stay) string {
	words := []string{fmt.Sprintf("%d-%d", s.Start, s.End)}
	if s.Exact {
		words = append(words, "exact")
	}
	if s.Open {
		words = append(words, "open")
	}
	if s.Lossy {
		words = append(words, "lossy")
	}
	words = append(words, s.Entry.Kind.String())
	if s.TID != app.TID || s.CPU != scriptCPU || s.UserIP != scriptIP {
		words = append(words, fmt.Sprintf("(thread %d, CPU %d, ip %#x)", s.TID, s.CPU, s.UserIP))
	}
	words = append(words, "quiet", fmt.Sprintf("%d:", s.Quiet))
	var parts []string
	for _, p := range s.Inside {
		part := p.Event.Kind.String()
		if p.Event.Task != nil {
			part += " " + p.Event.Task.Name
		}
		if p.Duration != 0 {
			part += fmt.Sprintf(" %d", p.Duration)
		}
		for _, from := range p.Senders {
			part += "<" + from.Sender.Name
		}
		parts = append(parts, part)
	}
	if s.Omitted > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", s.Omitted))
	}
	return strings.Join(append(words, strings.Join(parts, ", ")), " ")
}

func expect(t *testing.T, r *recorder, want ...string) {
	t.Helper()
	got := r.shown()
	for i, s := range got {
		got[i] = strings.TrimSpace(s)
	}
	if !slices.Equal(got, append([]string{}, want...)) {
		t.Errorf("got stays\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}
