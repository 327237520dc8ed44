// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/hold/operation"
)

// DefaultMaxWait is how long an operation waits at most.
const DefaultMaxWait = 5 * time.Second

// How often the keeper looks at what it keeps, and at the clock if it keeps nothing.
const (
	lookAtThreads = 2 * time.Millisecond
	lookAtClock   = 100 * time.Millisecond
)

// lettingGo bounds how long the end waits for threads that were just being stopped.
const lettingGo = 2 * time.Second

// maxTracers bounds the threads of the operating system that keep others stopped.
const maxTracers = 2000

// Config selects the operations to keep back, and for how long.
type Config struct {
	CPUs       cpulist.Set // that operations are not to interrupt
	MaxWait    time.Duration
	Policy     Policy            // of all operations but those named in
	Operations map[string]Policy // by their names
	Allow      []Rule
	When       When
	Files      fs.FS // the root of the file tree; the keeper reads it only
	// Record is called by Run with each record, in the order in which they were
	// decided. It is not to block.
	Record func(operation.Record)

	first int // stands for process 1 in a test, if it is not 0
}

func (c Config) policyOf(o Operation) Policy {
	if p, ok := c.Operations[o.Name]; ok {
		return p
	}
	return c.Policy
}

// Keeper holds operations. Its methods are safe for concurrent use; Run is called once.
type Keeper struct {
	cfg     Config
	guard   *guard
	hooks   hooks // the guard, but in tests
	threads threads
	ops     []Operation
	inspect inspector
	now     func() time.Duration // CLOCK_MONOTONIC
	find    func(stage, happening) (transition[stage, happening, deed], bool)
	orders  chan func()
	ended   chan struct{}

	reports reports

	// The rest belongs to Run.
	held     []*held       // in the order of arrival: those that are not over, and those that a tracer has
	given    map[int]*held // by thread: abandoned operations, which the programs know until the thread ends
	swept    time.Duration // when that was last looked at
	tracers  int
	hand     hand
	isolated *bool // set by SetIsolated
	mode     mode
	last     uint64 // ID
	counts   map[operation.Outcome]uint64
	err      error
}

// hooks is what a keeper needs of the programs at the hooks.
type hooks interface {
	setMode(mode) error
	isClosed() (bool, error)
	next(limit time.Duration) (event, error)
	wake()
	waits(*event) (bool, error)
	answer(e *event, a answer, within time.Duration) (answered bool, err error)
	isTold(*event) (bool, error)
	takeBack(*event) (bool, error)
	forget(*event) error
	remove(*event) error
	detach() error
}

// threads is what a keeper needs of those that it holds. No method waits for one of them.
type threads interface {
	life(pid, tid int) life
	// trace stops a thread that is at the hook, and reports once.
	trace(e event, report func(how tracerState, err error)) stopper
	// watch reports when a thread is not in its call any more, which may be never.
	watch(e event, limit time.Duration, ended func())
}

// stopper is a tracer: release lets its thread go on.
type stopper interface{ release() }

// running is how long a released thread that runs is taken for being in its operation.
const running = time.Second

// A thread that was allowed to go on and sleeps does something else after this time than come back
// to its operation; a thread that does not sleep, after the longer one, in which it gets a CPU.
const (
	absent   = time.Second
	atLatest = 10 * time.Second
)

// sweeping is how often threads are looked at whose operations were given up.
const sweeping = time.Second

// reports are what other goroutines have for the keeper to do. Adding one never waits.
type reports struct {
	mu   sync.Mutex
	list []func()
}

func (r *reports) add(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, f)
}

func (r *reports) take() []func() {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

// Open attaches the programs, which interrupts all CPUs once. Nothing is held
// before Run. It needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE; without
// what it needs the error matches [ErrNotSupported].
func Open(cfg Config) (*Keeper, error) {
	g, err := openGuard(cfg)
	if err != nil {
		return nil, err
	}
	k := newKeeper(cfg, g, &system{files: cfg.Files}, g.ops)
	k.guard = g
	return k, nil
}

func newKeeper(cfg Config, h hooks, t threads, ops []Operation) *Keeper {
	return &Keeper{
		cfg: cfg, hooks: h, threads: t, ops: ops, inspect: inspector{cfg.Files, cfg.CPUs, affinity.Of},
		now: clock.Now, find: stageLines.find,
		orders: make(chan func(), 16), ended: make(chan struct{}),
		given: make(map[int]*held), counts: make(map[operation.Outcome]uint64),
	}
}

// Operations returns all operations, with the reason for each that this kernel
// lets nobody guard.
func (k *Keeper) Operations() []Operation { return slices.Clone(k.ops) }

// Limits returns what of its task a keeper could not do, and what a user can do about it.
// It may be called until Close.
func (k *Keeper) Limits() ([]string, error) {
	missed, err := k.guard.missed()
	seen, errSeen := k.guard.seen()
	return limits(missed, seen), errors.Join(err, errSeen)
}

func limits(missed, seen uint64) []string {
	var limits []string
	if missed > 0 {
		limits = append(limits, fmt.Sprintf("the kernel skipped taskiso's BPF program %d times because another task was preempted in it: "+
			"some of these uses of files and system calls may have been operations that were neither held nor recorded; boot with \"bpf\" in lsm= (/sys/kernel/security/lsm lists what is there now)", missed))
	}
	if seen > 0 {
		limits = append(limits, fmt.Sprintf("operations whose program could see that they were held, as taskiso got no CPU in time: %d; "+
			"a handler for SIGCONT ran, or the agent of a seccomp filter was asked, once more for each; "+
			"leave a housekeeping CPU to taskiso, or boot with preempt=full", seen))
	}
	return limits
}

// Close detaches the programs. It is called when Run has returned, or was never called.
func (k *Keeper) Close() error { return k.guard.close() }

// Run holds until the context ends, and then releases everything. It never waits for a
// thread that it holds: a goroutine asks the processes that can make others wait, and
// reports their answers.
func (k *Keeper) Run(ctx context.Context) error {
	defer close(k.ended)
	wake := context.AfterFunc(ctx, k.hooks.wake)
	defer wake()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		done <- k.run(ctx)
	}()
	return <-done
}

func (k *Keeper) run(ctx context.Context) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), urgent); err != nil {
		k.fail(fmt.Errorf("setting the nice value of the thread that decides about operations to %d: %w", urgent, err))
	}
	for ctx.Err() == nil {
		k.step()
		interval := lookAtClock
		if len(k.held) > 0 {
			interval = lookAtThreads
		}
		reports, err := k.read(interval)
		if err != nil {
			k.fail(err)
			break
		}
		k.obeyAll(reports)
	}
	err := k.end()
	return errors.Join(k.err, err)
}

// read decides about the events that come within a time. It takes the reports of goroutines before it has read the last
// event, and returns them to be handled after it: a thread that goes on by itself has recorded that before its call can
// end.
func (k *Keeper) read(limit time.Duration) (reports []func(), err error) {
	e, err := k.hooks.next(limit)
	if err == nil {
		k.arrive(e)
	}
	reports = k.reports.take()
	for err == nil || errors.Is(err, errNoEvent) {
		if e, err = k.hooks.next(0); err != nil {
			break
		}
		k.arrive(e)
	}
	k.removeOver()
	if errors.Is(err, errNoEvent) {
		return reports, nil
	}
	return reports, err
}

// obeyAll does what was reported and ordered meanwhile.
func (k *Keeper) obeyAll(reports []func()) {
	for _, report := range reports {
		report()
	}
	for {
		select {
		case order := <-k.orders:
			order()
		default:
			return
		}
	}
}

// fail notes the first failure. The keeper goes on: what it cannot stop goes on too.
func (k *Keeper) fail(err error) {
	if k.err == nil {
		k.err = err
	}
}

// ErrEnded means that the keeper does not run any more.
var ErrEnded = errors.New("the hold has ended")

// do lets f run where everything belongs to it.
func (k *Keeper) do(f func()) error {
	done := make(chan struct{})
	select {
	case k.orders <- func() { f(); close(done) }:
		k.hooks.wake()
	case <-k.ended:
		return ErrEnded
	}
	select {
	case <-done:
		return nil
	case <-k.ended:
		return ErrEnded
	}
}

// step does what time asks for.
func (k *Keeper) step() {
	k.setMode(k.wanted(time.Now()))
	switch {
	case len(k.held) == 0:
	case k.isOpen():
		k.releaseAll(operation.ByWindow)
	default:
		k.holdOn()
	}
	k.advanceAll()
	k.sweep()
}

func (k *Keeper) advanceAll() {
	k.settleReleased()
	for _, h := range k.held {
		k.advance(h)
	}
}

// removeOver forgets operations without further events, when everything that was in the ring buffer has been read.
func (k *Keeper) removeOver() {
	k.held = slices.DeleteFunc(k.held, func(h *held) bool { return h.tracer == nil && (h.stage == isAbandoned || h.stage == isOver) })
}

func (k *Keeper) setMode(m mode) {
	if m == k.mode {
		return
	}
	if err := k.hooks.setMode(m); err != nil {
		k.fail(err)
		return
	}
	k.mode = m
}

func (k *Keeper) isOpen() bool {
	if k.mode != busy {
		return k.mode == open
	}
	closed, err := k.hooks.isClosed()
	if err != nil {
		k.fail(err)
	}
	return !closed
}

// arrive decides about an operation that came.
func (k *Keeper) arrive(e event) {
	if e.exempt == exemptNot {
		waits, err := k.hooks.waits(&e)
		if err != nil {
			k.fail(err)
		}
		if !waits { // the event came twice, and was answered meanwhile
			return
		}
	}
	if h := k.ofVisit(&e); h != nil {
		if e.exempt == exemptNot {
			k.on(h, onVisit, "")
		} else {
			k.on(h, onLeave, exemptions[e.exempt])
		}
		return
	}
	if h := k.heldBy(e.TID); h != nil && e.exempt == exemptNot { // its place in the map is that of the new one
		k.abandon(h, onOther, operation.ByAbsence)
	}
	found := k.inspect.find(&e)
	if !found.harmful {
		k.reply(&e, pass)
		return
	}
	o := k.operation(&e, found)
	if k.cfg.policyOf(o) == Ignore {
		k.reply(&e, pass)
		return
	}
	r := k.describe(&e, found, o)
	switch outcome, reason := k.decide(&e, r, k.cfg.policyOf(o)); outcome {
	case operation.Held:
		k.keep(e, r)
	case operation.Denied:
		k.reply(&e, deny)
		k.write(r, operation.Denied, reason)
	default:
		k.reply(&e, pass)
		k.write(r, outcome, reason)
	}
}

// ofVisit returns the operation that came at that visit of the hook, if it is known.
func (k *Keeper) ofVisit(e *event) *held {
	if e.since == 0 {
		return nil
	}
	is := func(h *held) bool { return h.event.TID == e.TID && h.event.since == e.since }
	if i := slices.IndexFunc(k.held, is); i >= 0 {
		return k.held[i]
	}
	if h := k.given[e.TID]; h != nil && is(h) {
		return h
	}
	return nil
}

// heldBy returns the operation of a thread that waits, if one does.
func (k *Keeper) heldBy(tid int) *held {
	for _, h := range k.held {
		if h.event.TID == tid && !h.stage.hasRecord() {
			return h
		}
	}
	return nil
}

// operation returns what was found out to be done.
func (k *Keeper) operation(e *event, f finding) Operation {
	code := e.code
	if f.code != 0 {
		code = f.code
	}
	return k.ops[slices.IndexFunc(k.ops, func(o Operation) bool { return o.code == code })]
}

func (k *Keeper) describe(e *event, f finding, o Operation) operation.Record {
	k.last++
	r := operation.Record{
		ID: k.last, Time: time.Now().Add(e.Time - k.now()), PID: e.PID, TID: e.TID, Command: e.Comm, UID: e.UID, Cgroup: k.inspect.cgroup(e.PID),
		Operation: o.Name, Detail: f.detail, Spared: o.Spares, CPUs: k.cfg.CPUs,
	}
	if f.spares != "" {
		r.Spared = f.spares
	}
	return r
}

// decide returns the outcome of an operation.
func (k *Keeper) decide(e *event, r operation.Record, policy Policy) (operation.Outcome, operation.Reason) {
	if e.exempt == exemptReport || policy == Report {
		return operation.Reported, ""
	}
	if e.exempt != exemptNot {
		return operation.NotHeld, exemptions[e.exempt]
	}
	for _, rule := range k.cfg.Allow {
		if rule.allows(r) {
			return operation.Allowed, ""
		}
	}
	if k.inspect.isOurs(e.PID) {
		return operation.NotHeld, operation.ByOwner
	}
	if policy == Deny {
		return operation.Denied, ""
	}
	return operation.Held, ""
}

func (k *Keeper) keep(e event, r operation.Record) {
	if k.tracers >= maxTracers {
		k.reply(&e, pass)
		k.write(r, operation.NotHeld, exemptions[exemptFull])
		return
	}
	h := &held{event: e, record: r, stage: isBlocked, life: k.threads.life(e.PID, e.TID)}
	k.held = append(k.held, h)
	k.on(h, onVisit, "")
}

// advance looks whether a thread still lives, and lets it go when it is time.
func (k *Keeper) advance(h *held) {
	switch {
	case h.stage == isWorking && k.now()-h.since > running:
		k.on(h, onCallEnd, "")
	case h.stage == isRefused:
		k.advanceRefused(h)
	case h.stage != isBlocked:
	case h.tracer == nil && h.life.hasEnded(k.threads.life(h.event.PID, h.event.TID)):
		k.abandon(h, onEnd, operation.ByDeath)
	case k.now()-h.event.Time >= k.cfg.MaxWait:
		k.on(h, onRelease, operation.ByWait)
	}
}

// advanceRefused looks whether one that cannot be stopped has gone on.
func (k *Keeper) advanceRefused(h *held) {
	life := k.threads.life(h.event.PID, h.event.TID) // before the answer: settleReleased
	told, err := k.hooks.isTold(&h.event)
	switch {
	case err != nil:
		k.fail(err)
	case !told:
		k.on(h, onTaken, "")
	case h.life.hasEnded(life):
		k.abandon(h, onEnd, "")
	case k.now()-h.since > absent: // until then it has that answer
		k.abandon(h, onAbsence, "")
	}
}

// settleReleased ends the accounts of threads that have gone on, in the order of their
// arrival.
func (k *Keeper) settleReleased() {
	for _, h := range k.held {
		if h.stage != isTold && h.stage != isLeaving {
			continue
		}
		// In this order: a thread that had ended and whose operation is still in stage "told" did not take
		// its answer. In the other order it could take it, do its operation and end between the two.
		life := k.threads.life(h.event.PID, h.event.TID)
		ended := h.tracer == nil && h.life.hasEnded(life)
		told, err := k.hooks.isTold(&h.event)
		switch passed := k.now() - h.since; {
		case err != nil:
			k.fail(err)
			return
		case !told && h.stage == isTold:
			k.on(h, onTaken, h.why)
		case ended:
			k.abandon(h, onEnd, operation.ByDeath)
		case passed > absent && life.sleeps(), passed > atLatest:
			k.abandon(h, onAbsence, operation.ByAbsence)
		default:
			return
		}
	}
}

func (k *Keeper) releaseAll(why operation.Reason) {
	for _, h := range k.held {
		if h.stage == isBlocked {
			k.on(h, onRelease, why)
		}
	}
}

// holdOn takes back what a window released.
func (k *Keeper) holdOn() {
	for _, h := range k.held {
		if h.stage == isTold && h.why == operation.ByWindow {
			k.takeBack(h)
		}
	}
}

func (k *Keeper) write(r operation.Record, o operation.Outcome, reason operation.Reason) {
	r.Outcome, r.Reason = o, reason
	k.counts[o]++
	if k.cfg.Record != nil {
		k.cfg.Record(r)
	}
}

// reply answers a thread that has just come, if it waits for an answer.
func (k *Keeper) reply(e *event, a answer) { k.answer(e, a, absent) }

func (k *Keeper) answer(e *event, a answer, within time.Duration) (answered bool) {
	if e.exempt != exemptNot {
		return false
	}
	answered, err := k.hooks.answer(e, a, within)
	if err != nil {
		k.fail(err)
	}
	return answered
}

// unfinished returns how many operations were let go and have not ended.
func (k *Keeper) unfinished() int {
	n := 0
	for _, h := range k.held {
		if h.stage == isTold || h.stage == isLeaving || h.stage == isWorking {
			n++
		}
	}
	return n
}

// end releases everything. A thread that is still to be stopped then goes on when the
// programs are detached, and its tracer ends.
func (k *Keeper) end() error {
	k.setMode(open)
	for deadline := k.now() + lettingGo; ; time.Sleep(lookAtThreads) {
		k.letAllGo()
		if !slices.ContainsFunc(k.held, (*held).isOpen) || k.now() > deadline {
			return k.hooks.detach()
		}
	}
}

func (k *Keeper) letAllGo() {
	for e, err := k.hooks.next(0); err == nil; e, err = k.hooks.next(0) {
		if e.exempt != exemptNot { // it went on by itself, and is recorded as any other
			k.arrive(e)
			continue
		}
		k.reply(&e, pass)
	}
	k.removeOver()
	for _, report := range k.reports.take() {
		report()
	}
	k.releaseAll(operation.ByEnd)
	k.advanceAll()
}
