// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/hold/operation"
)

// world is a keeper with its tracers, and a kernel that is none: what the programs at the hooks do, what
// ptrace(2) does, and the threads that are held. Every step of each is one method, so that the explorer can
// take them in any order.
type world struct {
	k       *Keeper
	phase   phase
	now     time.Duration
	mode    mode
	threads []*worker
	ring    []event
	tracers []*osThread
	watched []watched
	let     map[uint64]bool // visits that were told to go on, and not taken back
	given   map[uint64]bool // visits that were given up
	records map[uint64]operation.Record
	current uint64 // visit of the event that is being handled
	left    budget
	ending  bool
	full    bool            // the ring buffer, for the next event
	unread  map[uint64]bool // visits of which the keeper reads only when it ends, or never that they went on
	reports []func()
	bad     string

	calls    int // of the kernel by the keeper, in this step
	during   int // the call before which somebody else does a step; 0: none
	disturbs func()

	tracerLines func(tracerState, tracerEvent) (transition[tracerState, tracerEvent, tracerAction], bool)
}

// phase is what the loop of Keeper.run does next.
type phase int

const (
	stepping phase = iota
	reading
	obeying
)

// budget bounds what may happen to those who are held.
type budget struct {
	visits, windows, hands, ticks, longs, signals, stops, conts, kills, lates, pairs, refusals, ends, losses int
}

// at is where a thread is.
type at string

const (
	atUser    at = "user"      // about to make its call
	atHook    at = "hook"      // waits for the keeper there
	isLate    at = "late"      // found no answer in time
	goingOn   at = "going on"  // has recorded that it was not held
	outgoing  at = "outgoing"  // sent itself the signal of the hook
	trapped   at = "trapped"   // stopped for its tracer
	listening at = "listening" // the same, asleep
	awoken    at = "awoken"    // about to stop for its tracer again
	sigStop   at = "signal"    // stopped to handle a signal, if it is traced
	groupStop at = "stopped"   // by its user
	callBegin at = "call"      // at the begin of its call
	endStop   at = "call end"
	inHandler at = "handler"
	inOp      at = "operation"
	elsewhere at = "elsewhere"
	isDone    at = "done"
	isDead    at = "dead"
)

// worker is a thread that wants to do an operation, so many times.
type worker struct {
	w      *world
	tid    int
	at     at
	tracer *osThread
	shown  bool // a stop that its tracer has not seen yet
	filter bool
	toEnd  bool // is traced to the end of its call
	signal bool // pending
	notify bool // it stops for its tracer before it looks at signals: JOBCTL_TRAP_NOTIFY
	stop   bool // pending
	refuse bool // nobody may trace it
	other  bool // it wants another operation than before
	visits uint64
	took   uint64 // the visit whose answer let it do what it does
	tookAt time.Duration
	known  bool // to the programs
	since  uint64
	answer answer
	until  time.Duration
}

// osThread is a tracer with the thread of the operating system that it is.
type osThread struct {
	*tracer
	of       *worker
	report   func(tracerState, error)
	began    bool
	reported bool
}

type watched struct {
	of    *worker
	since time.Duration
	ended func()
}

func newWorld(workers int, filter bool, b budget) *world {
	w := &world{left: b, let: map[uint64]bool{}, given: map[uint64]bool{}, records: map[uint64]operation.Record{}, unread: map[uint64]bool{}, now: time.Hour}
	cfg := Config{Policy: Hold, MaxWait: 2 * time.Second, Files: fstest.MapFS{}, Record: w.record}
	w.k = newKeeper(cfg, (*fakeHooks)(w), (*fakeThreads)(w), Operations())
	w.k.now = func() time.Duration { return w.now }
	for i := range workers {
		w.threads = append(w.threads, &worker{w: w, tid: 10 + i, at: atUser, filter: filter})
	}
	isolated := true
	w.k.isolated = &isolated
	w.k.step()
	return w
}

func (w *world) fail(format string, args ...any) {
	if w.bad == "" {
		w.bad = fmt.Sprintf(format, args...)
	}
}

func (w *world) record(r operation.Record) {
	visit := w.visit(r.ID)
	if old, ok := w.records[visit]; ok {
		w.fail("one operation, two records: %s (%s) and %s (%s)", old.Outcome, old.Reason, r.Outcome, r.Reason)
	}
	w.records[visit] = r
}

// visit is the one that a record is about: it was described when its event was read, or is by now.
func (w *world) visit(id uint64) uint64 {
	for _, h := range w.k.held {
		if h.record.ID == id {
			return h.event.since
		}
	}
	return w.current
}

func (w *world) worker(tid int) *worker {
	for _, t := range w.threads {
		if t.tid == tid {
			return t
		}
	}
	return nil
}

// fakeHooks is the world as the programs at the hooks.
type fakeHooks world

func (f *fakeHooks) disturb() {
	w := (*world)(f)
	w.calls++
	if w.calls == w.during && w.disturbs != nil {
		w.disturbs()
	}
}

func (f *fakeHooks) setMode(m mode) error    { f.disturb(); f.mode = m; return nil }
func (f *fakeHooks) isClosed() (bool, error) { return f.mode == closed, nil }
func (f *fakeHooks) wake()                   {}
func (f *fakeHooks) detach() error           { f.mode = open; return nil }

func (f *fakeHooks) next(time.Duration) (event, error) {
	if len(f.ring) == 0 {
		return event{}, errNoEvent
	}
	e := f.ring[0]
	f.ring = f.ring[1:]
	f.current = e.since
	return e, nil
}

func (f *fakeHooks) of(e *event) *worker {
	f.disturb()
	t := (*world)(f).worker(e.TID)
	if !t.known || t.since != e.since {
		return nil
	}
	return t
}

func (f *fakeHooks) waits(e *event) (bool, error) {
	t := f.of(e)
	return t != nil && t.answer == wait, nil
}

func (f *fakeHooks) isTold(e *event) (bool, error) {
	t := f.of(e)
	return t != nil && t.answer == pass, nil
}

func (f *fakeHooks) change(e *event, from, to answer, within time.Duration) bool {
	t := f.of(e)
	if t == nil || t.answer != from {
		return false
	}
	t.answer, t.until = to, f.now+within
	return true
}

func (f *fakeHooks) answer(e *event, a answer, within time.Duration) (bool, error) {
	done := f.change(e, wait, a, within)
	if done && within == 2*atLatest {
		f.let[e.since] = true
	}
	return done, nil
}

func (f *fakeHooks) takeBack(e *event) (bool, error) {
	done := f.change(e, pass, wait, 0)
	if done {
		delete(f.let, e.since)
	}
	return done, nil
}

func (f *fakeHooks) forget(e *event) error {
	f.given[e.since] = true
	delete(f.let, e.since)
	for _, from := range []answer{wait, pass, deny} {
		if f.change(e, from, taken, 0) {
			return nil
		}
	}
	return nil
}

func (f *fakeHooks) remove(e *event) error {
	if t := f.of(e); t != nil {
		t.known = false
	}
	return nil
}

// fakeThreads is the world as that of threads.
type fakeThreads world

func (f *fakeThreads) life(_, tid int) life {
	(*fakeHooks)(f).disturb()
	switch t := (*world)(f).worker(tid); t.at {
	case isDead:
		return life{"Z", "1"}
	case elsewhere:
		return life{"S", "1"}
	case trapped, listening, awoken, callBegin, endStop:
		return life{"t", "1"}
	case groupStop:
		return life{"T", "1"}
	}
	return life{"R", "1"}
}

func (f *fakeThreads) trace(e event, report func(tracerState, error)) stopper {
	w := (*world)(f)
	o := &osThread{of: w.worker(e.TID), report: report}
	o.tracer = newTracer(o)
	o.find = w.tracerLines
	looks := time.Duration(0)
	o.now = func() time.Duration { looks += time.Second; return looks } // each look is one for signals
	w.tracers = append(w.tracers, o)
	return o.tracer
}

func (f *fakeThreads) watch(e event, _ time.Duration, ended func()) {
	w := (*world)(f)
	w.watched = append(w.watched, watched{w.worker(e.TID), w.now, ended})
}

// step is the next step of a tracer.
func (o *osThread) step() {
	switch {
	case o.reported: // the thread of the operating system ends
		if o.of.tracer == o {
			o.of.untrace()
		}
		o.of.w.tracers = slices.DeleteFunc(o.of.w.tracers, func(other *osThread) bool { return other == o })
		return
	case !o.began:
		o.began = true
		o.tracer.seize()
	default:
		o.tracer.look()
	}
	if o.state.isGone() {
		o.reported = true
		o.report(o.state, o.err)
	}
}

// The methods of traced, as ptrace(2) has them.

func (o *osThread) seize() error {
	switch {
	case o.of.at == isDead:
		return unix.ESRCH
	case o.of.refuse:
		return unix.EPERM
	}
	o.of.tracer = o
	return nil
}

func (o *osThread) look() (place, unix.Signal, error) {
	t := o.of
	if t.at == isDead {
		return atEnd, 0, nil
	}
	if !t.shown {
		return runs, 0, nil
	}
	t.shown = false
	switch t.at {
	case outgoing, sigStop:
		switch {
		case t.stop:
			return atSignal, unix.SIGSTOP, nil
		case t.signal:
			return atSignal, unix.SIGUSR1, nil
		}
		return atSignal, unix.SIGWINCH, nil
	case groupStop:
		return atSignal, 0, nil
	case callBegin, endStop:
		return atCall, 0, nil
	case trapped:
		if t.stop { // another thread took it, and all are stopped: do_jobctl_trap() of kernel/signal.c
			t.stop, t.at = false, groupStop
			return atSignal, 0, nil
		}
	}
	return atStop, 0, nil
}

func (o *osThread) listen() error {
	switch t := o.of; {
	case t.at == trapped && t.stop:
		t.stop = false
		t.stops(groupStop)
	case t.at == trapped:
		t.at = listening
	}
	return nil
}

func (o *osThread) wake() error {
	if t := o.of; t.at == listening {
		t.at = awoken
	}
	return nil
}

func (o *osThread) drop() error {
	t := o.of
	switch {
	case t.at == groupStop || t.stop && t.at != trapped:
		t.w.fail("a stop of the user is taken back")
	case t.signal && (t.at == sigStop || t.at == outgoing):
		t.w.fail("a signal is dropped")
	}
	if t.at != isDead {
		t.stops(trapped)
	}
	return nil
}

func (o *osThread) detach(signal unix.Signal) error {
	t := o.of
	if t.at == listening || t.at == awoken { // __ptrace_detach() wants it stopped, not asleep
		return nil
	}
	if t.at == sigStop || t.at == outgoing {
		switch {
		case t.stop && signal != unix.SIGSTOP, !t.stop && t.signal && signal != unix.SIGUSR1:
			t.w.fail("a signal is lost")
		}
	}
	t.untrace()
	return nil
}

func (o *osThread) toCall(unix.Signal) error {
	switch t := o.of; t.at {
	case trapped:
		if !t.signals() {
			t.stops(callBegin)
		}
	case callBegin:
		t.at, t.toEnd = atUser, true
	}
	return nil
}

func (o *osThread) goOn(unix.Signal) error        { return nil }
func (o *osThread) remake() error                 { return nil }
func (o *osThread) passFilters() bool             { return o.of.filter }
func (o *osThread) isAtItsCall() bool             { return o.of.at == callBegin }
func (o *osThread) isFromHook(s unix.Signal) bool { return s == unix.SIGWINCH }
func (o *osThread) doesNothing(unix.Signal) bool  { return false } // it has a handler for the only one
func (o *osThread) hasSignal() bool               { return o.of.signal || o.of.at == isDead }

// stops stops a thread, which its tracer is shown. A stop that is for the tracer is what it was to be notified by: ptrace_stop().
func (t *worker) stops(where at) {
	t.at, t.shown = where, true
	t.notify = t.notify && where != trapped && where != groupStop
}

// untrace lets a thread go on without a tracer.
func (t *worker) untrace() {
	t.tracer, t.shown, t.toEnd, t.notify = nil, false, false, false
	switch t.at {
	case outgoing, trapped, listening, awoken, sigStop, callBegin:
		t.at = atUser
		t.signals()
	case endStop:
		t.at = isDone
	}
}

// signals handles what is pending in a thread that is about to be in user mode, and reports whether anything was pending.
func (t *worker) signals() bool {
	switch {
	case t.notify:
		t.stops(trapped)
	case !t.stop && !t.signal:
		return false
	case t.tracer != nil:
		t.stops(sigStop)
	case t.stop:
		t.stop, t.at = false, groupStop
	default:
		t.signal, t.at = false, inHandler
	}
	return true
}

// canRun reports whether a thread has something to do next by itself.
func (t *worker) canRun() bool {
	switch t.at {
	case atHook:
		return !t.known || t.answer != wait || t.tracer != nil
	case outgoing, sigStop, trapped, callBegin, endStop, listening:
		return t.tracer == nil
	case isDone:
		return t.w.left.visits > 0
	case groupStop, elsewhere, isDead:
		return false
	}
	return true
}

// run is the next step of a thread.
func (t *worker) run() {
	switch t.at {
	case atUser:
		if !t.signals() {
			t.visit()
		}
	case atHook:
		switch {
		case !t.known || t.answer != wait:
			t.take()
		default:
			t.stops(outgoing)
		}
	case awoken:
		if t.tracer == nil {
			t.untrace()
			return
		}
		t.stops(trapped)
	case isLate:
		t.tell(exemptSignal)
		t.at = goingOn
	case goingOn:
		t.known, t.at = false, inOp
	case inHandler:
		t.at = atUser
	case inOp:
		t.took = 0
		if t.toEnd && t.tracer != nil {
			t.stops(endStop)
			return
		}
		t.at = isDone
	case isDone:
		t.w.left.visits--
		t.at = atUser
	default:
		t.untrace()
	}
}

// visit is what the program at the hook does: guard() of bpf/hold.bpf.c.
func (t *worker) visit() {
	w := t.w
	about := t.known && !t.other && t.answer != taken && (t.answer == wait || w.now < t.until)
	switch {
	case about && t.answer != wait:
		t.take()
		return
	case about && w.now-time.Duration(t.visited()) > w.k.cfg.MaxWait+2*time.Second:
		t.tell(exemptSilence)
		t.at = goingOn
		return
	case !about && w.mode != closed:
		t.at = inOp
		return
	case !about:
		t.other = false
		t.visits++
		t.known, t.answer = true, wait
		t.since = uint64(t.tid)<<40 | uint64(w.now/time.Millisecond)<<12 | t.visits<<2
	}
	t.tell(exemptNot)
	t.at = atHook
}

// visited is when the visit began.
func (t *worker) visited() time.Duration {
	return time.Duration(t.since>>12&(1<<28-1)) * time.Millisecond
}

func (t *worker) take() {
	if t.known && t.answer == pass {
		if t.w.given[t.since] {
			t.w.fail("an answer is taken by an operation that was given up")
		}
		t.took, t.tookAt = t.since, t.w.now
	}
	t.known, t.at = false, inOp
}

func (t *worker) tell(e exemption) {
	if t.w.full {
		t.w.full = false
		t.w.unread[t.since] = true // it is counted as lost; the keeper hears of it if the thread comes again
		return
	}
	if e == exemptNot {
		delete(t.w.unread, t.since)
	}
	t.w.ring = append(t.w.ring, event{Time: t.visited(), since: t.since, exempt: e, code: opBPF, PID: t.tid, TID: t.tid})
}

func (t *worker) die() {
	t.at, t.shown, t.took = isDead, false, 0
}

// The steps of the keeper.

func (w *world) turn() {
	w.calls = 0
	switch w.phase {
	case stepping:
		if w.ending {
			w.drainAtEnd()
			w.k.letAllGo()
		} else {
			w.k.step()
			w.checkWaits()
		}
		w.phase = reading
	case reading:
		if !w.ending {
			w.reports, _ = w.k.read(0)
		}
		w.phase = obeying
	default:
		w.k.obeyAll(w.reports)
		w.reports = nil
		w.phase = stepping
	}
	w.checkKeeper()
}

func (w *world) drainAtEnd() {
	for _, e := range w.ring {
		w.unread[e.since] = true
	}
}

// checkWaits is what must hold when the keeper has looked at the clock.
func (w *world) checkWaits() {
	for _, h := range w.k.held {
		t := w.worker(h.event.TID)
		if t.at != isDead && t.at != goingOn && t.known && t.since == h.event.since && t.answer == wait && w.now-h.event.Time >= w.k.cfg.MaxWait && h.stage != isLeaving {
			w.fail("an operation is held for longer than it may")
		}
	}
}

// checkKeeper is what must hold whenever the keeper has done something.
func (w *world) checkKeeper() {
	waiting := uint64(0)
	for i, h := range w.k.held {
		if h.stage.hasRecord() {
			continue
		}
		waiting++
		if slices.ContainsFunc(w.k.held[:i], func(other *held) bool { return !other.stage.hasRecord() && other.event.TID == h.event.TID }) {
			w.fail("thread %d has two operations that wait", h.event.TID)
		}
	}
	if len(w.k.given) > len(w.threads) {
		w.fail("more operations are given up than there are threads")
	}
	if w.k.err != nil {
		w.fail("the keeper failed: %v", w.k.err)
	}
	total := waiting
	for _, n := range w.k.counts {
		total += n
	}
	if total != w.k.last {
		w.fail("%d operations wait or have a record, and %d came", total, w.k.last)
	}
	w.checkWindow()
}

// checkWindow is what must hold when the keeper may take a window for settled.
func (w *world) checkWindow() {
	if w.k.unfinished() > 0 {
		return
	}
	for _, t := range w.threads {
		switch {
		case t.at == isDead, t.at == goingOn: // it is waited for by its call, for a second at most
		case t.known && t.answer == pass && w.let[t.since]:
			w.fail("a window does not wait for an operation that was told to go on")
		case t.at == inOp && t.took != 0 && w.let[t.took] && w.now-t.tookAt < running:
			w.fail("a window does not wait for an operation at work")
		}
	}
}

// key names a state: two worlds of one key do the same.
func (w *world) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s|%d %v %d %v %v %v|", w.bad, w.phase, w.now, w.mode, w.ending, w.full, w.left)
	fmt.Fprintf(&b, "%v %v %d|", *w.k.isolated, w.k.hand.set, w.k.mode)
	for _, t := range w.threads {
		fmt.Fprintf(&b, "%s %v %v %v %v %v %v %v %d %d %v %v %v %x %d %v|", t.at, t.tracer != nil, t.shown, t.toEnd, t.signal, t.notify, t.stop, t.refuse, t.visits, t.took, t.tookAt, t.known, t.other, t.since, t.answer, t.until)
	}
	for _, e := range w.ring {
		fmt.Fprintf(&b, "e%x %d|", e.since, e.exempt)
	}
	for _, o := range w.tracers {
		fmt.Fprintf(&b, "t%d %s %v %v %v %v|", o.of.tid, o.state, o.isReleased(), o.began, o.reported, o.of.tracer == o)
	}
	for _, h := range w.k.held {
		fmt.Fprintf(&b, "h%x %s %q %v %v %v|", h.event.since, h.stage, h.why, h.since, h.tracer != nil, h.tracer != nil && h.tracer.again)
	}
	for _, x := range w.watched {
		fmt.Fprintf(&b, "w%d %v|", x.of.tid, x.since)
	}
	for _, tid := range slices.Sorted(maps.Keys(w.k.given)) {
		fmt.Fprintf(&b, "g%x %s|", w.k.given[tid].event.since, w.k.given[tid].stage)
	}
	for _, s := range slices.Sorted(maps.Keys(w.records)) {
		fmt.Fprintf(&b, "r%x|", s)
	}
	for _, s := range slices.Sorted(maps.Keys(w.let)) {
		fmt.Fprintf(&b, "l%x|", s)
	}
	fmt.Fprintf(&b, "%v %d %d", w.k.swept, len(w.k.reports.list), len(w.reports))
	return b.String()
}
