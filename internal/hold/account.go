// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"time"

	"github.com/taskiso/taskiso/internal/hold/operation"
)

// held is an operation that was held, until nothing has to be known of it any more.
type held struct {
	event  event
	record operation.Record
	life   life // of its thread
	stage  stage
	why    operation.Reason // it was allowed to go on
	since  time.Duration    // when it was allowed to, and then when it had gone on
	tracer *tracing         // that stops its thread, if one does
}

// tracing is what a keeper knows of a tracer that has not ended.
type tracing struct {
	stopper
	again bool // the thread came to the hook meanwhile
}

// stage is where an operation is.
type stage string

// Stages of an operation. In the first three it has no record.
const (
	isBlocked   stage = "blocked"   // it waits for an answer
	isTold      stage = "told"      // it may go on, and does so when its thread is at the hook
	isLeaving   stage = "leaving"   // no answer could reach it: its thread goes on by itself, or has ended
	isRefused   stage = "refused"   // its thread cannot be stopped, and it may go on
	isWorking   stage = "working"   // it has gone on, and its call may not have ended
	isAbandoned stage = "abandoned" // it will not go on; the programs know of it until its thread ends
	isOver      stage = "over"
)

// hasRecord reports whether the account of an operation is closed.
func (s stage) hasRecord() bool { return s != isBlocked && s != isTold && s != isLeaving }

// isOpen reports whether an operation has no record, or a tracer.
func (h *held) isOpen() bool { return !h.stage.hasRecord() || h.tracer != nil }

// happening is what a keeper orders, or sees happen, of an operation.
type happening string

// Happenings.
const (
	onVisit      happening = "its thread comes to the hook"
	onRelease    happening = "it is released"
	onNoAnswer   happening = "it does not wait for that answer"
	onTakenBack  happening = "the window closes first"
	onTaken      happening = "its thread has taken the answer"
	onLeave      happening = "its thread went on by itself"
	onOther      happening = "its thread comes with another operation"
	onAbsence    happening = "its thread does something else"
	onEnd        happening = "its thread has ended"
	onTracedEnd  happening = "its tracer saw the thread end"
	onRefusal    happening = "its thread cannot be traced"
	onCallEnd    happening = "its call has ended, or had its time"
	onSuccession happening = "a later operation of its thread is where it is"
)

// deed is what a keeper does about an operation.
type deed string

// Deeds.
const (
	doStop    deed = "stop its thread"
	doTell    deed = "tell it to go on"
	doPass    deed = "let it pass"
	doResume  deed = "release its tracer"
	doForget  deed = "let the programs forget the visit"
	doRemove  deed = "let the programs forget the thread"
	doWatch   deed = "watch its call"
	doHeld    deed = "record that it was held"
	doNotHeld deed = "record that it was not held"
)

type stageTable = table[stage, happening, deed]

// stageLines are all transitions of an operation. After a thread was allowed to go on, its end as the tracer
// sees it decides nothing: the thread may have gone on first (settleReleased).
var stageLines = stageTable{
	{isBlocked, onVisit, isBlocked, []deed{doStop}},
	{isBlocked, onRelease, isTold, []deed{doTell, doResume}},
	{isBlocked, onLeave, isOver, []deed{doResume, doNotHeld}},
	{isBlocked, onRefusal, isRefused, []deed{doNotHeld, doPass}},
	{isBlocked, onOther, isAbandoned, []deed{doForget, doResume, doHeld}},
	{isBlocked, onEnd, isAbandoned, []deed{doForget, doHeld}},
	{isBlocked, onTracedEnd, isAbandoned, []deed{doForget, doHeld}},

	{isTold, onNoAnswer, isLeaving, nil},
	{isTold, onTakenBack, isBlocked, nil},
	{isTold, onTaken, isWorking, []deed{doHeld, doWatch}},
	{isTold, onLeave, isWorking, []deed{doNotHeld, doWatch}},
	{isTold, onOther, isAbandoned, []deed{doForget, doHeld}},
	{isTold, onAbsence, isAbandoned, []deed{doForget, doHeld}},
	{isTold, onEnd, isAbandoned, []deed{doForget, doHeld}},
	{isTold, onTracedEnd, isTold, nil},
	{isTold, onRefusal, isTold, nil},
	{isTold, onRelease, isTold, nil},

	{isLeaving, onLeave, isWorking, []deed{doNotHeld, doWatch}},
	{isLeaving, onOther, isAbandoned, []deed{doForget, doHeld}},
	{isLeaving, onAbsence, isAbandoned, []deed{doForget, doHeld}},
	{isLeaving, onEnd, isAbandoned, []deed{doForget, doHeld}},
	{isLeaving, onTracedEnd, isLeaving, nil},
	{isLeaving, onRefusal, isLeaving, nil},
	{isLeaving, onRelease, isLeaving, nil},

	{isRefused, onTaken, isOver, nil},
	{isRefused, onLeave, isOver, nil},
	{isRefused, onEnd, isAbandoned, []deed{doForget}},
	{isRefused, onAbsence, isAbandoned, []deed{doForget}},

	{isWorking, onLeave, isWorking, nil}, // it had found no answer in time, and then there was one
	{isWorking, onCallEnd, isOver, nil},
	{isWorking, onSuccession, isOver, nil},
	{isWorking, onTracedEnd, isWorking, nil},
	{isWorking, onRefusal, isWorking, nil},

	{isAbandoned, onEnd, isOver, []deed{doRemove}},
	{isAbandoned, onSuccession, isOver, nil},
	{isAbandoned, onLeave, isAbandoned, nil},
	{isAbandoned, onTracedEnd, isAbandoned, nil},
	{isAbandoned, onRefusal, isAbandoned, nil},

	{isOver, onCallEnd, isOver, nil}, // its time was over first
	{isOver, onLeave, isOver, nil},
	{isOver, onTracedEnd, isOver, nil},
	{isOver, onRefusal, isOver, nil},
}

// on does what the table has for a happening, for a reason that goes into a record.
func (k *Keeper) on(h *held, what happening, why operation.Reason) {
	line, listed := k.find(h.stage, what)
	if !listed {
		return
	}
	h.stage = line.to
	for _, d := range line.do {
		k.act(h, d, why)
	}
}

func (k *Keeper) act(h *held, d deed, why operation.Reason) {
	switch d {
	case doStop:
		k.stop(h)
	case doTell:
		k.tell(h, why)
	case doPass:
		h.since = k.now()
		k.reply(&h.event, pass)
	case doResume:
		if h.tracer != nil {
			h.tracer.release()
		}
	case doForget:
		k.forget(h)
	case doRemove:
		k.remove(h)
	case doWatch:
		k.watch(h)
	case doHeld:
		k.settle(h, operation.Held, why)
	case doNotHeld:
		k.settle(h, operation.NotHeld, why)
	}
}

// stop begins to stop a thread that came to the hook, when no tracer has it any more.
func (k *Keeper) stop(h *held) {
	if h.tracer != nil {
		h.tracer.again = true
		return
	}
	k.tracers++
	h.tracer = &tracing{stopper: k.threads.trace(h.event, func(how tracerState, err error) {
		k.reports.add(func() { k.parted(h, how, err) })
		k.hooks.wake()
	})}
}

// parted is called when a thread is not traced any more.
func (k *Keeper) parted(h *held, how tracerState, err error) {
	k.tracers--
	again := h.tracer.again
	h.tracer = nil
	switch {
	case how == died:
		k.abandon(h, onTracedEnd, operation.ByDeath)
	case how == refused: // by another debugger, or a security module does not allow it
		if h.stage == isBlocked {
			h.record.Error = err.Error()
		}
		k.on(h, onRefusal, operation.ByRefusal)
	case err != nil:
		k.fail(err)
	}
	if again && h.stage == isBlocked {
		k.on(h, onVisit, "")
	}
}

// tell lets an operation go on. Its thread does so at once if it is at the hook, and otherwise
// when it comes back there.
func (k *Keeper) tell(h *held, why operation.Reason) {
	h.why, h.since = why, k.now()
	if !k.answer(&h.event, pass, 2*atLatest) { // until then it is given up, or has taken it
		k.on(h, onNoAnswer, "")
	}
}

// takeBack lets what a window released wait on, if the window has closed before its thread went on.
func (k *Keeper) takeBack(h *held) {
	taken, err := k.hooks.takeBack(&h.event)
	if err != nil {
		k.fail(err)
	}
	if taken {
		h.why = ""
		k.on(h, onTakenBack, "")
	}
}

// abandon ends the account of an operation that will not go on.
func (k *Keeper) abandon(h *held, what happening, why operation.Reason) {
	k.on(h, what, why)
	if h.stage == isAbandoned {
		k.sweepIfEnded(h)
	}
}

// forget lets the next operation of the thread be a new one. The programs know of one operation of a thread.
func (k *Keeper) forget(h *held) {
	if err := k.hooks.forget(&h.event); err != nil {
		k.fail(err)
	}
	if earlier := k.given[h.event.TID]; earlier != nil {
		k.on(earlier, onSuccession, "")
	}
	k.given[h.event.TID] = h
}

// remove lets the programs know of no thread that has ended.
func (k *Keeper) remove(h *held) {
	if err := k.hooks.remove(&h.event); err != nil {
		k.fail(err)
	}
	delete(k.given, h.event.TID)
}

// sweep looks whether threads that the programs still know have ended.
func (k *Keeper) sweep() {
	if len(k.given) == 0 || k.now()-k.swept < sweeping {
		return
	}
	k.swept = k.now()
	for _, h := range k.given {
		k.sweepIfEnded(h)
	}
}

func (k *Keeper) sweepIfEnded(h *held) {
	if h.life.hasEnded(k.threads.life(h.event.PID, h.event.TID)) {
		k.on(h, onEnd, "")
	}
}

// watch has somebody look until the call of a thread has ended.
func (k *Keeper) watch(h *held) {
	for _, other := range k.held {
		if other != h && other.stage == isWorking && other.event.TID == h.event.TID {
			k.on(other, onSuccession, "")
		}
	}
	h.since = k.now()
	k.threads.watch(h.event, running, func() { k.reports.add(func() { k.on(h, onCallEnd, "") }) })
}

// settle closes the account of an operation.
func (k *Keeper) settle(h *held, o operation.Outcome, why operation.Reason) {
	h.record.Held = k.now() - h.event.Time
	if h.why != "" {
		h.record.Held = h.since - h.event.Time
	}
	k.write(h.record, o, why)
}
