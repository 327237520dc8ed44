// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
)

// DefaultMaxWait is how long an operation waits at most.
const DefaultMaxWait = 5 * time.Second

// How often the keeper looks at what it keeps, whether a signal waits for one of
// those, and at the clock if it keeps nothing.
const (
	lookAtThreads = 2 * time.Millisecond
	lookAtSignals = 50 * time.Millisecond
	lookAtClock   = 100 * time.Millisecond
)

// lettingGo bounds how long the end waits for threads that were just being stopped.
const lettingGo = 2 * time.Second

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

	// The rest belongs to Run.
	held     []*held         // in the order of arrival
	released map[int]release // by thread
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
	stage  stage
	looked time.Duration // when signals were last looked for
	let    string        // why it is to go on when it has been stopped; empty: it is not
	letAt  time.Duration // since when
	ended  bool          // its account is
}

// release is that of a thread into its operation, which may take a while.
type release struct {
	call int
	at   time.Duration
}

// running is how long a released thread that runs is taken for being in its operation.
const running = time.Second

// absent is how long a seized thread takes at most from one visit of the hook to
// the next: one that takes longer does something else.
const absent = time.Second

// stage is how far stopping a thread has come.
type stage int

const (
	loose    stage = iota // it runs, or a signal has stopped it; if it comes back it is told again
	stopping              // it is seized, and will stop at the hook
	kept                  // it is stopped
	rousing               // it will be stopped again at once, to go on
)

// Open attaches the programs, which interrupts all CPUs once. Nothing is held
// before Run. It needs root, or CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE; without
// what it needs the error matches [ErrNotSupported].
func Open(cfg Config) (*Keeper, error) {
	g, err := openGuard(cfg.CPUs, cfg.policyOf, cfg.MaxWait)
	if err != nil {
		return nil, err
	}
	return &Keeper{
		cfg: cfg, guard: g, inspect: inspector{cfg.Files, cfg.CPUs, processMemory},
		orders: make(chan func(), 16), ended: make(chan struct{}),
		released: make(map[int]release), counts: make(map[Outcome]uint64),
	}, nil
}

// Operations returns all operations, with the reason for each that this kernel
// lets nobody guard.
func (k *Keeper) Operations() []Operation { return slices.Clone(k.guard.ops) }

// Missed returns at how many visits of a hook the kernel passed our program by
// because another task had been preempted in it on the same CPU. Each may have been
// an operation that went on, held or recorded by nobody. It is 0 where BPF programs
// are security modules, except in a Linux 6.1 without commit 271de525e1d7. It may be
// called until Close.
func (k *Keeper) Missed() (uint64, error) { return k.guard.missed() }

// MissedText says what it means to a user that n were missed, and what to do.
func MissedText(n uint64) string {
	return fmt.Sprintf("at %d uses of files and system calls the kernel passed our program by, because another task was preempted in it: "+
		"most are none, but each may have been an operation that went on unseen; boot with \"bpf\" in lsm= (/sys/kernel/security/lsm lists what is there now)", n)
}

// Close detaches the programs. It is called when Run has returned, or was never called.
func (k *Keeper) Close() error { return k.guard.close() }

// Run holds until the context ends, and then lets everything go. To the kernel one
// thread is the tracer of those that are stopped: when it ends, they go on.
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

// urgent is the nice value of the thread that stops others: until they are
// stopped, they use the CPU.
const urgent = -20

func (k *Keeper) run(ctx context.Context) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), urgent); err != nil {
		k.fail(fmt.Errorf("setting the nice value of the thread that stops others to %d: %w", urgent, err))
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

// obeyAll does what was ordered meanwhile.
func (k *Keeper) obeyAll() {
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
	for _, h := range k.held {
		k.advance(h)
	}
	k.held = slices.DeleteFunc(k.held, func(h *held) bool { return h.ended && h.stage == loose })
	k.lookAtReleased()
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
	if i := slices.IndexFunc(k.held, func(h *held) bool { return h.event.TID == e.TID && !h.ended }); i >= 0 && e.exempt == exemptNot {
		h := k.held[i]
		if h.event.code == e.code {
			k.again(h)
			return
		}
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
		ID: k.last, Time: time.Now().Add(e.Time - now()), PID: e.PID, TID: e.TID, Command: e.Comm, UID: e.UID, Cgroup: k.inspect.cgroup(e.PID),
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
	h := &held{event: e, record: r}
	// A thread that was seized for an operation it gave up is so already.
	if i := slices.IndexFunc(k.held, func(h *held) bool { return h.event.TID == e.TID && h.stage != loose }); i >= 0 {
		h.stage, k.held[i].stage = k.held[i].stage, loose
	}
	k.held = append(k.held, h)
	k.again(h)
}

// again begins to stop a thread that comes to the hook again and again.
func (k *Keeper) again(h *held) {
	if h.stage != loose {
		return
	}
	err := seize(h.event.TID)
	switch {
	case err == nil:
		h.stage = stopping
	case isGone(err):
		k.finish(h, ByDeath)
	default: // by another debugger, or a security module does not allow it
		k.reply(&h.event, pass)
		k.settle(h, NotHeld, err.Error())
	}
}

// advance looks at a thread, and lets it go when it is time.
func (k *Keeper) advance(h *held) {
	if h.stage != loose {
		k.lookAt(h)
	}
	switch {
	case h.stage == stopping && h.let != "" && now()-h.letAt > absent:
		k.finish(h, ByAbsence)
		k.rouse(h)
	case h.ended || h.let != "":
	case now()-h.event.Time >= k.cfg.MaxWait:
		k.release(h, ByWait)
	case h.stage == kept && now()-h.looked > lookAtSignals:
		h.looked = now()
		if hasSignal(k.cfg.Files, h.event.PID, h.event.TID) {
			k.rouse(h)
		}
	}
}

func (k *Keeper) lookAt(h *held) {
	at, signal, err := look(h.event.TID)
	if err != nil {
		k.fail(err)
	}
	switch at {
	case stopped:
		k.stoppedAt(h)
	case signals:
		k.letGo(h, signal)
	case gone:
		h.stage = loose
		k.finish(h, ByDeath)
	}
}

// stoppedAt keeps a thread that has stopped, or lets it go.
func (k *Keeper) stoppedAt(h *held) {
	if h.let != "" && !h.ended {
		k.pass(h)
	}
	if h.stage == stopping { // it may have waited for another thread's load, and is not to see that this ended
		if err := remake(h.event.TID, h.event.nr, h.event.args); err != nil && !isGone(err) {
			k.fail(err)
		}
	}
	if h.ended || h.stage == rousing {
		k.letGo(h, 0)
		return
	}
	h.stage = kept
	if err := listen(h.event.TID); err != nil {
		k.fail(err)
	}
}

// letGo lets a stopped thread run. Unless its account has ended it is told again if it comes back.
func (k *Keeper) letGo(h *held, signal unix.Signal) {
	if err := letGo(h.event.TID, signal); err != nil {
		k.fail(err)
	}
	h.stage = loose
	if h.let != "" && !h.ended { // it was on its way to be stopped when it was released
		k.pass(h)
	}
}

func (k *Keeper) rouse(h *held) {
	if err := rouse(h.event.TID); err != nil {
		k.fail(err)
	}
	h.stage = rousing
}

// release lets an operation go on, at once or when its thread has been stopped.
// Not before: it might go on without having been stopped, and be stopped elsewhere.
func (k *Keeper) release(h *held, why string) {
	if h.ended || h.let != "" {
		return
	}
	h.let, h.letAt = why, now()
	switch h.stage {
	case loose: // when it comes back
		k.pass(h)
	case kept:
		k.pass(h)
		k.rouse(h)
	}
}

// pass tells a thread to go on.
func (k *Keeper) pass(h *held) {
	k.reply(&h.event, pass)
	k.released[h.event.TID] = release{h.event.nr, now()}
	k.settle(h, Held, h.let)
}

func (k *Keeper) releaseAll(why string) {
	for _, h := range k.held {
		k.release(h, why)
	}
}

// keepOn takes back what a window released that has closed before its thread was stopped.
func (k *Keeper) keepOn() {
	for _, h := range k.held {
		if !h.ended && h.let == ByWindow {
			h.let = ""
		}
	}
}

// finish gives up an operation that will not go on.
func (k *Keeper) finish(h *held, why string) {
	if err := k.guard.forget(h.event.TID); err != nil {
		k.fail(err)
	}
	if !h.ended {
		k.settle(h, Held, why)
	}
}

// settle ends the account of an operation.
func (k *Keeper) settle(h *held, o Outcome, why string) {
	h.ended = true
	h.record.Held = now() - h.event.Time
	k.write(h.record, o, why)
}

func (k *Keeper) write(r Record, o Outcome, reason string) {
	r.Outcome, r.Reason = o, reason
	k.counts[o]++
	if k.cfg.Record != nil {
		k.cfg.Record(r)
	}
}

// reply answers a thread, if it waits for an answer.
func (k *Keeper) reply(e *event, a answer) {
	if e.exempt != exemptNot {
		return
	}
	if err := k.guard.answer(e, a); err != nil {
		k.fail(err)
	}
}

// lookAtReleased forgets threads whose operation has ended.
func (k *Keeper) lookAtReleased() {
	for tid, r := range k.released {
		if now()-r.at > running || !k.isAtWork(tid, r.call) {
			delete(k.released, tid)
		}
	}
}

// isAtWork tells whether a thread that was told to go on is in its operation, or
// has not come back to it: it may handle a signal first.
func (k *Keeper) isAtWork(tid, call int) bool {
	told, err := k.guard.isTold(tid)
	if err != nil {
		k.fail(err)
	}
	return told || inCall(k.cfg.Files, tid, call)
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

// end lets everything go. What is still to be stopped then goes on when this
// thread of the operating system ends.
func (k *Keeper) end() error {
	k.setMode(open)
	for deadline := now() + lettingGo; ; time.Sleep(lookAtThreads) {
		for e, err := k.guard.next(0); err == nil; e, err = k.guard.next(0) {
			k.reply(&e, pass)
		}
		k.releaseAll(ByEnd)
		for _, h := range k.held {
			k.advance(h)
		}
		k.held = slices.DeleteFunc(k.held, func(h *held) bool { return h.ended && h.stage == loose })
		if len(k.held) == 0 || now() > deadline {
			return k.guard.detach()
		}
	}
}
