// SPDX-License-Identifier: Apache-2.0

package stay

import "github.com/taskiso/taskiso/internal/event"

// currents are the tasks that CPUs run, as far as switches show, and how often another event showed that a CPU ran
// another one: a switch was not recorded then, and nobody counted it as lost. That happens: on a Linux 6.18 neither a
// BPF program nor perf see anything of some turns of one daemon's threads, not the switch away from them either.
type currents struct {
	tasks      map[int]*event.Task // by CPU, where it is known
	unrecorded map[int]uint64      // by CPU
}

func newCurrents() currents {
	return currents{tasks: make(map[int]*event.Task), unrecorded: make(map[int]uint64)}
}

// see takes in an event of a CPU whose switches are all recorded, or only (everyOne is false) those from and to
// watched threads. If e shows that the switch away from a task was not recorded, it returns that task.
func (c *currents) see(e event.Event, everyOne bool) (missed *event.Task) {
	if e.Kind.IsSend() || e.Kind == event.NMI { // an NMI can come between the event of a switch and the switch
		return nil
	}
	if task := c.tasks[e.CPU]; task != nil && !canBe(task, e.TID) {
		c.unrecorded[e.CPU]++
		delete(c.tasks, e.CPU)
		missed = task
	}
	switch {
	case e.Kind != event.Switch:
	case everyOne || e.Task.Watched:
		c.tasks[e.CPU] = e.Task
	default:
		delete(c.tasks, e.CPU)
	}
	return missed
}

// canBe reports whether a task can have a number: its own, and, once it has called execve(), that of its process, some
// time before the event of that.
func canBe(task *event.Task, tid uint32) bool { return tid == task.TID || tid == task.PID }

// Unrecorded returns, by CPU, how often an event showed that a switch before it was not recorded although no event
// was lost.
func (b *Builder) Unrecorded() map[int]uint64 { return b.currents.unrecorded }

// compare compares an event with the switch before it. A thread that went away unrecorded was not in user mode until it
// shows itself again: that time is not known to be quiet.
func (b *Builder) compare(e event.Event) {
	missed := b.currents.see(e, !b.Everywhere)
	if missed == nil {
		return
	}
	if tid, runs := b.running[e.CPU]; runs && tid == missed.TID {
		b.lostTurn(b.threads[tid])
		delete(b.running, e.CPU)
	}
}

// lostTurn ends what was known of a thread that is away and yet shows itself: that it was switched to was not
// recorded, nor what it did since. The stay that it went away in has been all the same.
func (b *Builder) lostTurn(t *thread) {
	t.unsure = true
	b.close(t, t.seen, false)
	t.forget()
}
