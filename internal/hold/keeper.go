// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/clock"
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

// Config says what to keep back, and for how long.
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
	Record func(Record)

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
	inspect inspector
	orders  chan func()
	ended   chan struct{}

	reports  reports
	watchers atomic.Int32 // goroutines that look whether a released operation has ended

	// The rest belongs to Run.
	held     []*held          // in the order of arrival
	released map[int]*release // by thread
	given    map[int]*held    // by thread: given up, of which the programs know until the thread ends
	swept    time.Duration    // when that was last looked at
	tracers  int
	hand     hand
	isolated *bool // set by SetIsolated
	mode     mode
	last     uint64 // ID
	counts   map[Outcome]uint64
	err      error
}

// held is an operation that waits.
type held struct {
	event  event
	record Record
	life   life    // of its thread
	tracer *tracer // that stops it, if one does
	came   bool    // it came to the hook while it still had a tracer
	let    string  // why it was told to go on; empty: it was not
	letAt  time.Duration
	told   bool // it has that answer, or has taken it
	ended  bool // its account is
}

// release is that of a thread into its operation, which may take a while.
type release struct {
	at    time.Duration
	ended atomic.Bool
}

// running is how long a released thread that runs is taken for being in its operation.
const running = time.Second

// A thread that was told to go on and sleeps does something else than to come back to its
// operation after this time, and any other after the longer one, in which it gets a CPU.
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
	return &Keeper{
		cfg: cfg, guard: g, inspect: inspector{cfg.Files, cfg.CPUs, affinity.Of},
		orders: make(chan func(), 16), ended: make(chan struct{}),
		released: make(map[int]*release), given: make(map[int]*held), counts: make(map[Outcome]uint64),
	}, nil
}

// Operations returns all operations, with the reason for each that this kernel
// lets nobody guard.
func (k *Keeper) Operations() []Operation { return slices.Clone(k.guard.ops) }

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

// Run holds until the context ends, and then lets everything go. Nothing that it does
// waits for one of those that it holds: who may make others wait is asked by a
// goroutine, which reports.
func (k *Keeper) Run(ctx context.Context) error {
	defer close(k.ended)
	wake := context.AfterFunc(ctx, k.guard.wake)
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
		if len(k.held) > 0 || len(k.released) > 0 {
			interval = lookAtThreads
		}
		e, err := k.guard.next(interval)
		for ; err == nil; e, err = k.guard.next(0) {
			k.arrive(e)
		}
		if !errors.Is(err, errNoEvent) {
			k.fail(err)
			break
		}
		k.obeyAll()
	}
	err := k.end()
	return errors.Join(k.err, err)
}

// obeyAll does what was ordered and reported meanwhile.
func (k *Keeper) obeyAll() {
	for _, report := range k.reports.take() {
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

// ErrEnded says that the keeper does not run any more.
var ErrEnded = errors.New("the hold has ended")

// do lets f run where everything belongs to it.
func (k *Keeper) do(f func()) error {
	done := make(chan struct{})
	select {
	case k.orders <- func() { f(); close(done) }:
		k.guard.wake()
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
		k.releaseAll(ByWindow)
	default:
		k.keepOn()
	}
	k.advanceAll()
	k.lookAtReleased()
	k.sweep()
}

func (k *Keeper) advanceAll() {
	k.settleReleased()
	for _, h := range k.held {
		k.advance(h)
	}
	k.held = slices.DeleteFunc(k.held, func(h *held) bool { return h.ended && h.tracer == nil })
}

func (k *Keeper) setMode(m mode) {
	if m == k.mode {
		return
	}
	if err := k.guard.setMode(m); err != nil {
		k.fail(err)
		return
	}
	k.mode = m
}

func (k *Keeper) isOpen() bool {
	if k.mode != busy {
		return k.mode == open
	}
	closed, err := k.guard.isClosed()
	if err != nil {
		k.fail(err)
	}
	return !closed
}

// arrive decides about an operation that came.
func (k *Keeper) arrive(e event) {
	if e.exempt == exemptNot {
		waits, err := k.guard.waits(&e)
		if err != nil {
			k.fail(err)
		}
		if !waits { // it was told twice, and answered meanwhile
			return
		}
	}
	switch h := k.heldBy(e.TID); {
	case h == nil:
	case h.event.since == e.since && e.exempt == exemptNot:
		k.again(h)
		return
	case h.event.since == e.since: // it went on all the same
		k.drop(h)
		k.settle(h, NotHeld, exemptions[e.exempt])
		return
	case e.exempt == exemptNot: // its place in the map is that of the new one
		k.finish(h, ByAbsence)
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
	case Held:
		k.keep(e, r)
	case Denied:
		k.reply(&e, deny)
		k.write(r, Denied, reason)
	default:
		k.reply(&e, pass)
		k.write(r, outcome, reason)
	}
}

// heldBy returns the operation of a thread that waits, if one does.
func (k *Keeper) heldBy(tid int) *held {
	for _, h := range k.held {
		if h.event.TID == tid && !h.ended {
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
	return k.guard.ops[slices.IndexFunc(k.guard.ops, func(o Operation) bool { return o.code == code })]
}

func (k *Keeper) describe(e *event, f finding, o Operation) Record {
	k.last++
	r := Record{
		ID: k.last, Time: time.Now().Add(e.Time - clock.Now()), PID: e.PID, TID: e.TID, Command: e.Comm, UID: e.UID, Cgroup: k.inspect.cgroup(e.PID),
		Operation: o.Name, Detail: f.detail, Spared: o.Spares, CPUs: k.cfg.CPUs,
	}
	if f.spares != "" {
		r.Spared = f.spares
	}
	return r
}

// decide says what is to become of an operation.
func (k *Keeper) decide(e *event, r Record, policy Policy) (Outcome, string) {
	if e.exempt == exemptReport || policy == Report {
		return Reported, ""
	}
	if e.exempt != exemptNot {
		return NotHeld, exemptions[e.exempt]
	}
	for _, rule := range k.cfg.Allow {
		if rule.allows(r) {
			return Allowed, ""
		}
	}
	if k.inspect.isOurs(e.PID) {
		return NotHeld, "it belongs to the isolated program"
	}
	if policy == Deny {
		return Denied, ""
	}
	return Held, ""
}

func (k *Keeper) keep(e event, r Record) {
	if k.tracers >= maxTracers {
		k.reply(&e, pass)
		k.write(r, NotHeld, exemptions[exemptFull])
		return
	}
	h := &held{event: e, record: r, life: lifeOf(k.cfg.Files, e.PID, e.TID)}
	k.held = append(k.held, h)
	k.again(h)
}

// again begins to stop a thread that came to the hook.
func (k *Keeper) again(h *held) {
	if h.tracer != nil || h.let != "" {
		h.came = true
		return
	}
	h.came = false
	k.tracers++
	h.tracer = startTracer(h.event, k.cfg.Files, func(how parting, err error) {
		k.reports.add(func() { k.parted(h, how, err) })
		k.guard.wake()
	})
}

// parted is called when a thread is not traced any more.
func (k *Keeper) parted(h *held, how parting, err error) {
	k.tracers--
	h.tracer = nil
	switch {
	case how == died && h.let == "": // otherwise it may have gone on first: settleReleased
		k.finish(h, ByDeath)
	case how == refused && !h.ended && h.let == "": // by another debugger, or a security module does not allow it
		k.reply(&h.event, pass)
		k.settle(h, NotHeld, err.Error())
	case how != refused && err != nil:
		k.fail(err)
	}
	if h.came && !h.ended {
		k.again(h)
	}
}

// advance looks whether a thread still lives, and lets it go when it is time.
func (k *Keeper) advance(h *held) {
	switch {
	case h.ended || h.let != "":
	case h.tracer == nil && h.life.hasEnded(lifeOf(k.cfg.Files, h.event.PID, h.event.TID)):
		k.finish(h, ByDeath)
	case clock.Now()-h.event.Time >= k.cfg.MaxWait:
		k.release(h, ByWait)
	}
}

// release tells an operation to go on. Its thread does so at once if it is at the hook,
// and otherwise when it comes back there.
func (k *Keeper) release(h *held, why string) {
	if h.ended || h.let != "" {
		return
	}
	h.let, h.letAt = why, clock.Now()
	h.told = k.tell(&h.event, pass, 2*atLatest) // until then it is given up, or has taken it
	k.drop(h)
}

// drop lets the tracer of a thread go, if it has one.
func (k *Keeper) drop(h *held) {
	if h.tracer != nil {
		h.tracer.release()
	}
}

// settleReleased ends the accounts of threads that have gone on, in the order of their
// arrival.
func (k *Keeper) settleReleased() {
	for _, h := range k.held {
		if h.ended || h.let == "" {
			continue
		}
		// In this order: one that had ended and is still told did not take its answer. The
		// other way round it could take it, do its operation and end between the two.
		life := lifeOf(k.cfg.Files, h.event.PID, h.event.TID)
		ended := h.tracer == nil && h.life.hasEnded(life)
		told, err := k.guard.isTold(&h.event)
		switch {
		case err != nil:
			k.fail(err)
			return
		case !told && h.told:
			k.watch(h)
			k.settle(h, Held, h.let)
		case ended:
			k.finish(h, ByDeath)
		case clock.Now()-h.letAt > absent && life.sleeps(), clock.Now()-h.letAt > atLatest:
			k.finish(h, ByAbsence)
		default:
			return
		}
	}
}

func (k *Keeper) releaseAll(why string) {
	for _, h := range k.held {
		k.release(h, why)
	}
}

// keepOn takes back what a window released that has closed before its thread went on.
func (k *Keeper) keepOn() {
	for _, h := range k.held {
		if h.ended || h.let != ByWindow {
			continue
		}
		taken, err := k.guard.takeBack(&h.event)
		if err != nil {
			k.fail(err)
		}
		if taken {
			h.let, h.told = "", false
		}
	}
}

// finish gives up an operation that will not go on.
func (k *Keeper) finish(h *held, why string) {
	if err := k.guard.forget(&h.event); err != nil {
		k.fail(err)
	}
	if !k.remove(h) {
		k.given[h.event.TID] = h // the programs know of one operation of a thread
	}
	k.drop(h)
	if !h.ended {
		k.settle(h, Held, why)
	}
}

// sweep lets the programs know of no thread that has ended.
func (k *Keeper) sweep() {
	if len(k.given) == 0 || clock.Now()-k.swept < sweeping {
		return
	}
	k.swept = clock.Now()
	maps.DeleteFunc(k.given, func(_ int, h *held) bool { return k.remove(h) })
}

// remove has the programs forget a thread, and tells whether they know nothing more of it
// that is to be removed.
func (k *Keeper) remove(h *held) bool {
	if !h.life.hasEnded(lifeOf(k.cfg.Files, h.event.PID, h.event.TID)) {
		return false
	}
	if err := k.guard.remove(&h.event); err != nil {
		k.fail(err)
	}
	return true
}

// settle ends the account of an operation.
func (k *Keeper) settle(h *held, o Outcome, why string) {
	h.ended = true
	h.record.Held = clock.Now() - h.event.Time
	if h.let != "" {
		h.record.Held = h.letAt - h.event.Time
	}
	k.write(h.record, o, why)
}

func (k *Keeper) write(r Record, o Outcome, reason string) {
	r.Outcome, r.Reason = o, reason
	k.counts[o]++
	if k.cfg.Record != nil {
		k.cfg.Record(r)
	}
}

// reply answers a thread that has just come, if it waits for an answer.
func (k *Keeper) reply(e *event, a answer) { k.tell(e, a, absent) }

func (k *Keeper) tell(e *event, a answer, within time.Duration) (answered bool) {
	if e.exempt != exemptNot {
		return false
	}
	answered, err := k.guard.answer(e, a, within)
	if err != nil {
		k.fail(err)
	}
	return answered
}

// maxWatchers bounds the goroutines of watch, of which a process can make one wait.
const maxWatchers = 64

// watch looks until a released thread is not in its operation any more. It may wait for
// ever for the process (inCall); the keeper does not wait for it.
func (k *Keeper) watch(h *held) {
	r := &release{at: clock.Now()}
	k.released[h.event.TID] = r
	if k.watchers.Load() >= maxWatchers { // what is not known is at work
		return
	}
	k.watchers.Add(1)
	go func() {
		defer k.watchers.Add(-1)
		for inCall(k.cfg.Files, h.event.TID, h.event.nr) && clock.Now()-r.at < running {
			time.Sleep(lookAtThreads)
		}
		r.ended.Store(true)
	}()
}

// lookAtReleased forgets threads whose operation has ended.
func (k *Keeper) lookAtReleased() {
	for tid, r := range k.released {
		if r.ended.Load() || clock.Now()-r.at > running {
			delete(k.released, tid)
		}
	}
}

// unfinished returns how many operations were let go and have not ended.
func (k *Keeper) unfinished() int {
	n := len(k.released)
	for _, h := range k.held {
		if !h.ended && h.let != "" {
			n++
		}
	}
	return n
}

// end lets everything go. What is still to be stopped then goes on when the programs
// are detached, and its tracer ends.
func (k *Keeper) end() error {
	k.setMode(open)
	for deadline := clock.Now() + lettingGo; ; time.Sleep(lookAtThreads) {
		for e, err := k.guard.next(0); err == nil; e, err = k.guard.next(0) {
			k.reply(&e, pass)
		}
		for _, report := range k.reports.take() {
			report()
		}
		k.releaseAll(ByEnd)
		k.advanceAll()
		if len(k.held) == 0 || clock.Now() > deadline {
			return k.guard.detach()
		}
	}
}
