// SPDX-License-Identifier: Apache-2.0

package record

import (
	"io"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/event"
)

// counted counts what is written.
type counted struct{ bytes int }

func (c *counted) Write(p []byte) (int, error) {
	c.bytes += len(p)
	return len(p), nil
}

var _ io.Writer = &counted{}

// A day of an isolated CPU with 50 breaks an hour takes less than 10 MiB: each is a call from another CPU, from one of some senders.
func TestDayOfAnIsolatedCPU(t *testing.T) {
	const (
		day   = 24 * time.Hour
		poll  = 10 * time.Millisecond
		every = time.Hour / 50
	)
	out := &counted{}
	w, err := NewWriter(out, header(), kernel{})
	if err != nil {
		t.Fatal(err)
	}
	w.patient = true // the day takes a second
	w.Begin(1)
	breaks := 0
	for now := poll; now <= day; now += poll {
		b := event.Batch{Until: now}
		if now%every == 0 {
			breaks++
			b.Events = breakAt(now-poll/2, breaks)
		}
		w.Batch(b)
	}
	if err := w.Close(&End{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d breaks, %d bytes", breaks, out.bytes)
	if breaks != 24*50 || out.bytes > 10<<20 {
		t.Errorf("%d breaks, %d bytes", breaks, out.bytes)
	}
}

// breakAt is a call from another CPU: the sender with its stack, and what shows on the CPU.
func breakAt(at time.Duration, n int) []event.Event {
	stack := make([]uint64, 20)
	for i := range stack {
		stack[i] = 0xffffffff81000000 + uint64(n%7)<<12 + uint64(i)*977
	}
	send := event.Event{Kind: event.SendCall, A: 3, B: stack[0], C: uint64(n) << 6, Sender: &event.Sender{PID: uint32(n), Name: "sender", Cgroup: 7, Stack: stack}}
	list := []event.Event{
		send, {Kind: event.UserExit}, {Kind: event.CallFunctionSingleEnter}, {Kind: event.CSDEnter, A: stack[0], B: uint64(n) << 6},
		{Kind: event.CSDExit, A: stack[0]}, {Kind: event.CallFunctionSingleExit}, {Kind: event.UserEnter},
	}
	for i := range list {
		e := &list[i]
		e.Time, e.CPU, e.TID, e.Watched, e.UserIP = at+time.Duration(i*317), 3, 7, true, 0x7f0012345678+uint64(n)
	}
	return list
}
