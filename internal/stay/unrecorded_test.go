// SPDX-License-Identifier: Apache-2.0

package stay

import (
	"testing"

	"github.com/taskiso/taskiso/internal/event"
)

// A switch that nobody recorded shows in what comes after it.
func TestUnrecorded(t *testing.T) {
	leader := event.Task{TID: peer.PID, PID: peer.PID, Name: "leader", Watched: true}
	for _, tc := range []struct {
		name       string
		everywhere bool
		lost       bool
		script     []event.Event
		want       uint64
	}{
		{name: "all recorded", script: []event.Event{
			at(1, event.SyscallEnter), switched(2, app, kworker, runnable), switched(5, kworker, app, sleeping), at(6, event.SyscallExit)}},
		{name: "the switch to the thread", want: 1, script: []event.Event{
			at(1, event.SyscallEnter), switched(2, app, kworker, runnable), at(6, event.SyscallExit)}},
		{name: "the switch away from it", want: 1, script: []event.Event{
			switched(1, swapper, app, runnable), at(2, event.SyscallExit), at(6, event.LocalTimerEnter, in(kworker))}},
		{name: "one between two others", want: 1, script: []event.Event{
			switched(1, app, kworker, runnable), switched(3, ksoft, swapper, sleeping)}},
		{name: "each of two", want: 2, script: []event.Event{
			switched(1, app, kworker, runnable), at(2, event.SyscallEnter), at(3, event.SyscallExit),
			switched(4, app, kworker, runnable), at(5, event.SyscallEnter)}},
		{name: "nothing is known before the first", script: []event.Event{
			at(1, event.SyscallEnter), at(2, event.LocalTimerEnter, in(kworker)), switched(3, swapper, app, runnable)}},
		{name: "events were lost", lost: true, script: []event.Event{
			at(1, event.SyscallEnter), switched(2, app, kworker, runnable), at(6, event.SyscallExit)}},
		{name: "an NMI between the event and the switch", script: []event.Event{
			switched(1, app, kworker, runnable), at(1, event.NMI), switched(5, kworker, app, sleeping)}},
		{name: "a sender between the event and the switch", script: []event.Event{
			switched(1, app, kworker, runnable), from(scriptCPU, send(1, event.SendWake, "app", 0, 0)), switched(5, kworker, app, sleeping)}},
		{name: "another thread than the leader executes a program", script: []event.Event{
			switched(1, swapper, peer, runnable), at(3, event.PageFault, in(leader)), exec(4, leader, peer.TID), at(6, event.SyscallExit, in(leader))}},
		{name: "threads are followed: others come and go unseen", everywhere: true, script: []event.Event{
			switched(1, app, kworker, runnable), switched(9, ksoft, app, sleeping), at(10, event.SyscallEnter)}},
		{name: "threads are followed: the switch away from one", everywhere: true, want: 1, script: []event.Event{
			switched(1, ksoft, app, runnable), at(2, event.SyscallEnter), switched(9, ksoft, app, sleeping)}},
		{name: "threads are followed: the switch away from one, shown by that between two others", everywhere: true, want: 1, script: []event.Event{
			switched(1, ksoft, app, runnable), at(2, event.SyscallEnter), switched(9, kworker, ksoft, sleeping)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRecorder()
			r.Everywhere = tc.everywhere
			batch := event.Batch{Events: tc.script, Until: 100}
			if tc.lost {
				batch.Lost = map[int]uint64{scriptCPU: 1}
			}
			r.Add(batch)
			if n := r.Unrecorded()[scriptCPU]; n != tc.want {
				t.Errorf("%d switches were not recorded, want %d", n, tc.want)
			}
		})
	}
}

// The time until a thread shows itself again may have been another task's, where its switch away was not recorded.
func TestQuietBeforeAnUnrecordedSwitch(t *testing.T) {
	r := newRecorder()
	r.play(switched(1, swapper, app, runnable), at(2, event.SyscallExit), at(10, event.SyscallEnter), at(11, event.SyscallExit),
		at(500, event.LocalTimerEnter, in(kworker)), at(1200, event.SyscallEnter), at(1201, event.SyscallExit), at(1300, event.SyscallEnter))
	expect(t, r, "10-11 lossy sys_enter quiet -1: sys_enter 1", "1200-1201 sys_enter quiet -1: sys_enter 1")
}

// Where one switch of a CPU was not recorded, the last one need not have been either: no user mode until the end is claimed.
func TestFinishAfterAnUnrecordedSwitch(t *testing.T) {
	for _, tc := range []struct {
		name string
		rest []event.Event
		want int
	}{
		{"all recorded", nil, 1},
		{"one not", []event.Event{switched(9, ksoft, app, sleeping), at(10, event.SyscallEnter), at(11, event.SyscallExit)}, 0},
		{"the last one not", []event.Event{switched(9, kworker, ksoft, sleeping)}, 0},
	} {
		r := newRecorder()
		r.Everywhere = true
		script := []event.Event{switched(1, ksoft, app, runnable), at(2, event.SyscallEnter), at(3, event.SyscallExit)}
		r.Add(event.Batch{Events: append(script, tc.rest...), Until: 100})
		if open := r.Finish(); len(open) != tc.want {
			t.Errorf("%s: %d threads in user mode at the end, want %d", tc.name, len(open), tc.want)
		}
	}
}

func from(cpu int, e event.Event) event.Event {
	e.CPU = cpu
	return e
}

// What a thread did before its switch back was not recorded has been.
func TestStayBeforeAnUnrecordedSwitch(t *testing.T) {
	r := newRecorder()
	r.play(at(8, event.SyscallEnter), at(9, event.SyscallExit), at(10, event.SyscallEnter), switched(12, app, kworker, runnable),
		at(40, event.SyscallEnter), at(41, event.SyscallExit), at(50, event.SyscallEnter))
	expect(t, r, "8-9 sys_enter quiet -1: sys_enter 1", "10-12 lossy sys_enter quiet -1: sys_enter, sched_switch kworker", "40-41 sys_enter quiet -1: sys_enter 1")
}
