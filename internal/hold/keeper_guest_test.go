// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/hold/operation"
	"github.com/taskiso/taskiso/internal/proc"
)

// keeping is a keeper that runs, with what it recorded.
type keeping struct {
	*Keeper
	mu      sync.Mutex
	records []Record
	stop    func()
}

func (k *keeping) all() []Record {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.records)
}

// keep begins to hold with programs that other tests have used as well.
func keep(t *testing.T, cfg Config) *keeping {
	t.Helper()
	g, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return keepWith(t, g, cfg, clean)
}

// keepAnew begins to hold with programs of its own, whose counts begin with 0.
func keepAnew(t *testing.T, cfg Config) *keeping {
	t.Helper()
	g, err := loadGuard(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	return keepWith(t, g, cfg, (*guard).close)
}

func keepWith(t *testing.T, g *guard, cfg Config, end func(*guard) error) *keeping {
	t.Helper()
	k := &keeping{}
	cfg = testConfig(t, cfg)
	cfg.Record = func(r operation.Record) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.records = append(k.records, Record{r})
	}
	if err := g.begin(cfg); err != nil {
		t.Fatal(errors.Join(err, end(g)))
	}
	k.Keeper = newKeeper(cfg, g, &system{files: cfg.Files}, g.ops)
	k.guard = g
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	k.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("keeper: %v", err)
		}
		if n, err := k.guard.seen(); err != nil || n > 0 {
			t.Logf("%d operations were held visibly (%v)", n, err)
		}
		if n, err := k.guard.missed(); err != nil || n > 0 && k.guard.asksModules {
			t.Errorf("%d visits of hooks were missed by programs of a security module (%v)", n, err)
		}
		if err := end(k.guard); err != nil {
			t.Errorf("detaching the programs: %v", err)
		}
	})
	t.Cleanup(k.stop)
	if _, err := k.Status(); err != nil { // answered after the first look at the mode: what comes from now on is held
		t.Error(err)
	}
	return k
}

// programs are loaded once for all tests of a guest: loading them takes a keeper three seconds there, and is the same each time.
// TestGuestKilledKeeper and its like have keepers of their own, in other processes.
var programs = sync.OnceValues(func() (*guard, error) { return loadGuard(os.DirFS("/")) })

// clean detaches the programs and removes what is left of a test in their maps.
func clean(g *guard) error {
	errs := []error{g.detach(), g.setMode(open)}
	for _, count := range []string{bpfVarLostEvents, bpfVarSeenOperations} {
		errs = append(errs, g.coll.Variables[count].Set(uint64(0)))
	}
	threads := g.coll.Maps[bpfMapThreads]
	var tid uint32
	for threads.NextKey(nil, &tid) == nil {
		errs = append(errs, threads.Delete(tid))
	}
	for {
		if _, err := g.next(0); errors.Is(err, errNoEvent) {
			return errors.Join(errs...)
		}
	}
}

// testConfig fills in what a test does not care about.
func testConfig(t testing.TB, cfg Config) Config {
	var err error
	if cfg.CPUs, err = cpulist.Parse("2-3"); err != nil {
		t.Fatal(err)
	}
	if cfg.Files == nil {
		cfg.Files = os.DirFS("/")
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = 10 * time.Minute
	}
	if cfg.Policy == "" {
		cfg.Policy = Hold
	}
	return cfg
}

// patience is how long a test waits for what is to come: beside others, a process takes
// seconds to begin in an emulated guest.
const patience = 3 * time.Minute

// process is an operation in a process of its own, whose parent watches it as a
// shell watches a job.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  output
	done chan error
}

// output is what a process has printed so far.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func begin(t *testing.T, name string) *process {
	t.Helper()
	return beginAlone(t, "job:"+name)
}

// beginAlone begins one that only the test waits for.
func beginAlone(t *testing.T, name string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(name), done: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	return p
}

// ends waits for the end and returns what the job and its parent said.
func (p *process) ends() string {
	p.t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("the parent of the job: %v: %s", err, p.out.String())
		}
	case <-time.After(patience):
		p.t.Fatalf("the job does not end")
	}
	return strings.TrimSpace(p.out.String())
}

// waits waits until an operation is held and its thread stopped, and returns it.
func (k *keeping) waits(t *testing.T, n int) []Record {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		s, err := k.Status()
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		for _, r := range s.Held {
			if state(r.TID) == "t" { // tracing stop
				kept++
			}
		}
		if len(s.Held) == n && kept == n {
			return recordsOf(s.Held)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d operations wait, %d of them stopped, want %d: %+v", len(s.Held), kept, n, s)
		}
	}
}

// state returns the state of a thread as ps shows it.
func state(tid int) string {
	stat, _ := proc.ReadStat(os.DirFS("/"), proc.Process(tid)) // no state if it has ended
	return stat.State
}

// only returns the only record.
func (k *keeping) only(t *testing.T) Record {
	t.Helper()
	eventually(t, "a record", func() bool { return len(k.all()) > 0 })
	all := k.all()
	if len(all) != 1 {
		t.Fatalf("%d records, want 1: %v", len(all), all)
	}
	return all[0]
}

// How a hold can end, and that the operation then succeeds.
func TestGuestReleased(t *testing.T) {
	for _, tc := range []struct {
		name   string
		cfg    Config
		how    func(*keeping, Record) error
		reason Reason
	}{
		{"by hand", Config{}, func(k *keeping, r Record) error { _, err := k.Release(r.ID); return err }, ByHand},
		{"all by hand", Config{}, func(k *keeping, _ Record) error { _, err := k.Release(All); return err }, ByHand},
		{"by a window", Config{}, func(k *keeping, _ Record) error { return k.Order(WindowOpen, patience) }, ByWindow},
		{"because nothing is isolated", Config{}, func(k *keeping, _ Record) error { return k.SetIsolated(false) }, ByWindow},
		{"by time", Config{MaxWait: 300 * time.Millisecond}, func(*keeping, Record) error { return nil }, ByWait},
		{"by the end", Config{}, func(k *keeping, _ Record) error { k.stop(); return nil }, ByEnd},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := keep(t, tc.cfg)
			p := begin(t, "timestamps")
			if tc.cfg.MaxWait == 0 {
				held := k.waits(t, 1)[0]
				time.Sleep(100 * time.Millisecond)
				if err := tc.how(k, held); err != nil {
					t.Error(err)
				}
			}
			if out := p.ends(); out != "done" {
				t.Errorf("got %q, want the operation done and no stop seen", out)
			}
			r := k.only(t)
			r.want(t, Held, tc.reason)
			if r.Held < 100*time.Millisecond || r.Operation != "socket-option" || r.Detail != "SO_TIMESTAMP" || r.Spared != staticKey {
				t.Errorf("record %+v", r)
			}
			if tc.reason != ByEnd {
				eventually(t, "no thread is left in the map", func() bool { return waiting(t, k) == 0 })
			}
		})
	}
}

// A window can open between the arrival of an operation and the moment at which its
// thread is stopped: it is waited for.
func TestGuestWindowBeforeStop(t *testing.T) {
	k := keep(t, Config{})
	if err := k.SetIsolated(true); err != nil {
		t.Fatal(err)
	}
	var p *process
	err := k.do(func() {
		p = begin(t, "timestamps")
		e, err := k.nextEvent()
		if err != nil {
			t.Error(err)
			return
		}
		k.arrive(e)
		*k.isolated = false
		k.setMode(open)
		k.releaseAll(ByWindow)
		if n := k.unfinished(); n != 1 {
			t.Errorf("%d operations are waited for, want the one that was let go", n)
		}
	})
	if err == nil {
		err = k.Settle(10 * time.Second)
	}
	if err != nil {
		t.Fatal(err)
	}
	if n := waiting(t, k); n != 0 {
		t.Errorf("the window was taken for settled with %d threads that had not come back to the hook", n)
	}
	if out := p.ends(); out != "done" {
		t.Errorf("got %q, want the operation done", out)
	}
	k.only(t).want(t, Held, ByWindow)
}

// nextEvent waits for an event, whoever else wakes the keeper meanwhile: do does, after its order has been taken.
func (k *keeping) nextEvent() (event, error) {
	for deadline := time.Now().Add(patience); ; {
		e, err := k.guard.next(patience)
		if !errors.Is(err, errNoEvent) || time.Now().After(deadline) {
			return e, err
		}
	}
}

// tellOnly has an operation told to go on, and not its tracer.
func (k *keeping) tellOnly(h *held, why Reason) {
	h.stage = isTold
	k.tell(h, why)
}

// A window can close before a thread that it let go has come back to the hook.
func TestGuestWindowClosesBefore(t *testing.T) {
	k := keep(t, Config{})
	if err := k.SetIsolated(true); err != nil {
		t.Fatal(err)
	}
	p := begin(t, "timestamps")
	k.waits(t, 1)
	err := k.do(func() {
		h := k.held[0]
		k.tellOnly(h, ByWindow) // its tracer does not know yet, so that it stays where it is
		k.step()                // isolated: the window is closed
		if told, err := k.guard.isTold(&h.event); h.stage != isBlocked || told || err != nil {
			t.Errorf("it is %s, told to go on %v (%v), want it held on", h.stage, told, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	k.waits(t, 1)
	if err := k.SetIsolated(false); err != nil {
		t.Fatal(err)
	}
	if out := p.ends(); out != "done" {
		t.Errorf("got %q, want the operation done", out)
	}
	k.only(t).want(t, Held, ByWindow)
}

// A thread that was told to go on may handle a signal before it comes back to its operation.
func TestGuestToldIsAtWork(t *testing.T) {
	k := keep(t, Config{})
	p := begin(t, "timestamps")
	k.waits(t, 1)
	err := k.do(func() {
		h := k.held[0]
		if n := k.unfinished(); n != 0 {
			t.Error("a thread that waits for an answer is taken for being at work")
		}
		k.tellOnly(h, ByHand)
		k.step()
		if n := k.unfinished(); n != 1 || h.stage != isTold {
			t.Error("a thread that has its answer and did not come back is taken for done")
		}
		h.tracer.release()
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := p.ends(); out != "done" {
		t.Errorf("got %q, want the operation done", out)
	}
}

// An answer is to one visit of the hook, and to one that still waits for it.
func TestGuestAnswerIsToOneVisit(t *testing.T) {
	k := keep(t, Config{})
	p := begin(t, "timestamps")
	k.waits(t, 1)
	err := k.do(func() {
		h := k.held[0]
		other := h.event
		other.since -= 4
		for _, step := range []struct {
			name     string
			event    *event
			from, to answer
			want     bool
		}{
			{"another visit's answer", &other, wait, pass, false},
			{"taking back what was not given", &h.event, pass, wait, false},
			{"an answer", &h.event, wait, pass, true},
			{"a second answer", &h.event, wait, deny, false},
			{"taking it back", &h.event, pass, wait, true},
		} {
			if changed, err := k.guard.change(step.event, step.from, step.to, time.Minute); changed != step.want || err != nil {
				t.Errorf("%s: done %v (%v), want %v", step.name, changed, err, step.want)
			}
		}
		if waits, err := k.guard.waits(&h.event); !waits {
			t.Errorf("after all that it does not wait (%v)", err)
		}
		k.on(h, onRelease, ByHand)
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := p.ends(); out != "done" {
		t.Errorf("got %q, want the operation done", out)
	}
	k.only(t).want(t, Held, ByHand)
}

// interposed is a file tree that does something, once, before a file is opened.
type interposed struct {
	fs.FS
	name   atomic.Pointer[string]
	before func()
}

func (f *interposed) Open(name string) (fs.File, error) {
	if at := f.name.Load(); at != nil && name == *at && f.name.CompareAndSwap(at, nil) {
		f.before()
	}
	return f.FS.Open(name)
}

// A thread that takes its answer, does its operation and ends while the keeper looks
// whether it lives has gone on. It is stopped until then, for longer than one may sleep.
func TestGuestEndsWhileLookedAt(t *testing.T) {
	files := &interposed{FS: os.DirFS("/")}
	k := keep(t, Config{Files: files})
	p := begin(t, "timestamps")
	r := k.waits(t, 1)[0]
	if err := unix.Kill(r.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stop, and the end of its tracer", func() bool {
		traced := true
		err := k.do(func() { traced = k.held[0].tracer != nil })
		return err == nil && !traced && state(r.TID) == "T"
	})
	stat := fmt.Sprintf("proc/%d/task/%d/stat", r.PID, r.TID)
	alive := lifeOf(files, r.PID, r.TID)
	files.before = func() {
		if err := unix.Kill(r.PID, unix.SIGCONT); err != nil {
			t.Error(err)
		}
		for deadline := clock.Now() + 10*time.Second; !alive.hasEnded(lifeOf(files, r.PID, r.TID)) && clock.Now() < deadline; {
			time.Sleep(time.Millisecond)
		}
	}
	err := k.do(func() {
		h := k.held[0]
		k.on(h, onRelease, ByHand)
		h.since -= 2 * absent
		if k.step(); h.stage != isTold {
			t.Error("it is given up, although it is stopped on its way")
		}
		h.since += 2 * absent
		files.name.Store(&stat)
		k.step()
	})
	if err != nil {
		t.Fatal(err)
	}
	if out := p.ends(); out != "stopped, done" {
		t.Errorf("got %q, want the operation done", out)
	}
	if files.name.Load() != nil {
		t.Error("the keeper did not look")
	}
	k.only(t).want(t, Held, ByHand)
}

// waiting counts the threads of which the programs know.
func waiting(t *testing.T, k *keeping) int {
	t.Helper()
	n := 0
	var key uint32
	var w bpfWaiting
	for it := k.guard.coll.Maps[bpfMapThreads].Iterate(); it.Next(&key, &w); {
		n++
	}
	return n
}

// Signals mean to a held process what they mean to any other.
func TestGuestSignals(t *testing.T) {
	for _, tc := range []struct {
		name, job string
		send      []unix.Signal
		out       string
		released  bool // the operation is still wanted, and released
		records   []Reason
	}{
		{"killed", "timestamps", []unix.Signal{unix.SIGKILL}, "killed", false, []Reason{ByDeath}},
		{"ended", "timestamps", []unix.Signal{unix.SIGTERM}, "terminated", false, []Reason{ByDeath}},
		{"handled", "handler", []unix.Signal{unix.SIGUSR1, unix.SIGUSR1}, "handled, handled, done", true, []Reason{ByHand}},
		{"stopped and continued", "timestamps", []unix.Signal{unix.SIGSTOP, unix.SIGCONT}, "stopped, done", true, []Reason{ByHand}},
		{"stopped by the terminal", "timestamps", []unix.Signal{unix.SIGTSTP, unix.SIGCONT}, "stopped, done", true, []Reason{ByHand}},
		{"ignored", "timestamps", []unix.Signal{unix.SIGCHLD, unix.SIGWINCH}, "done", true, []Reason{ByHand}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := keep(t, Config{})
			p := begin(t, tc.job)
			pid := k.waits(t, 1)[0].PID
			for i, s := range tc.send {
				if err := unix.Kill(pid, s); err != nil {
					t.Fatal(err)
				}
				p.tookSignal(t, pid, s, i+1)
			}
			if tc.released {
				k.waits(t, 1)
				if _, err := k.Release(All); err != nil {
					t.Error(err)
				}
			}
			if out := p.ends(); out != tc.out {
				t.Errorf("the parent saw %q, want %q", out, tc.out)
			}
			eventually(t, "the record", func() bool { return len(k.all()) >= len(tc.records) })
			for i, r := range k.all() {
				if i >= len(tc.records) {
					t.Fatalf("unexpected record %v", r)
				}
				r.want(t, Held, tc.records[i])
			}
			eventually(t, "no thread is left in the map", func() bool { return waiting(t, k) == 0 })
		})
	}
}

// tookSignal waits until a signal, the nth, has had its effect: the next one of its number would be lost before, or merged with
// it by Go's runtime, and a stop that ends before the parent has looked is none to it.
func (p *process) tookSignal(t *testing.T, pid int, s unix.Signal, n int) {
	t.Helper()
	switch s {
	case unix.SIGSTOP, unix.SIGTSTP:
		eventually(t, "the parent sees the stop", func() bool { return strings.Contains(p.out.String(), "stopped") })
		return
	case unix.SIGUSR1:
		eventually(t, "the handler runs", func() bool { return strings.Count(p.out.String(), "handled") == n })
		return
	}
	eventually(t, "the signal is not pending any more", func() bool {
		status, err := proc.ReadStatus(os.DirFS("/"), proc.Process(pid))
		return err != nil || signalsOf(status, "ShdPnd")&bit(s) == 0 // an error: it ended
	})
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// The other threads of a held process go on.
func TestGuestOtherThreadsRun(t *testing.T) {
	k := keep(t, Config{})
	p := begin(t, "threads")
	r := k.waits(t, 1)[0]
	if r.PID == r.TID {
		t.Logf("the operation is in the first thread")
	}
	eventually(t, "another thread counts", func() bool {
		_, err := os.Stat(fmt.Sprintf("/tmp/counted-%d", r.PID))
		return err == nil
	})
	k.waits(t, 1)
	if _, err := k.Release(All); err != nil {
		t.Error(err)
	}
	if out := p.ends(); out != "done" {
		t.Errorf("got %q", out)
	}
}

func TestGuestPolicies(t *testing.T) {
	zero := uint32(0)
	for _, tc := range []struct {
		name, job string
		cfg       Config
		out       string
		outcome   Outcome
		reason    Reason
	}{
		{"deny", "timestamps", Config{Policy: Deny}, "failed: device or resource busy", Denied, ""},
		{"deny one", "timestamps", Config{Operations: map[string]Policy{"socket-option": Deny}}, "failed: device or resource busy", Denied, ""},
		{"report", "timestamps", Config{Policy: Report}, "done", Reported, ""},
		{"ignore", "timestamps", Config{Policy: Ignore}, "done", "", ""},
		{"allow", "timestamps", Config{Allow: []Rule{{Command: "ex?", UID: &zero}}}, "done", Allowed, ""},
		{"traced", "traced", Config{}, "done", NotHeld, exemptions[exemptTraced]},
		{"isolated program", "pinned", Config{Operations: map[string]Policy{"affinity": Ignore}}, "done", NotHeld, ByOwner},
		{"other CPU", "affinity", Config{}, "done", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := keep(t, tc.cfg)
			if out := begin(t, tc.job).ends(); out != tc.out {
				t.Errorf("got %q, want %q", out, tc.out)
			}
			if tc.outcome == "" {
				time.Sleep(100 * time.Millisecond)
				if all := k.all(); len(all) != 0 {
					t.Errorf("records %v, want none", all)
				}
				return
			}
			eventually(t, "a record", func() bool { return len(k.all()) > 0 })
			k.only(t).want(t, tc.outcome, tc.reason)
		})
	}
}

// A direct child is never held: to stop it would look like its end to whoever waits for it here.
func TestGuestChildIsNotHeld(t *testing.T) {
	k := keep(t, Config{})
	if out, err := command("timestamps").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	eventually(t, "a record", func() bool { return len(k.all()) > 0 })
	k.only(t).want(t, NotHeld, exemptions[exemptChild])
}

// Two threads that load one file at once: the kernel gives one the result of the
// other, which must never be the number that says restart.
func TestGuestSameModuleTwice(t *testing.T) {
	rounds := 40
	if os.Getenv(soakVariable) != "" {
		rounds = 400
	}
	k := keep(t, Config{MaxWait: 50 * time.Millisecond})
	for range rounds {
		p := begin(t, "modules")
		if out := p.ends(); out != "done" {
			t.Errorf("got %q", out)
		}
	}
	for _, r := range k.all() {
		// One may be loaded by the other's call, and not come to the hook again.
		if r.Operation != "module" || r.Outcome != Held || !slices.Contains([]Reason{ByWait, ByDeath, ByAbsence}, r.Reason) {
			t.Errorf("record %v", r)
		}
	}
	if n := len(k.all()); n < rounds {
		t.Errorf("%d records of %d processes with two threads", n, rounds)
	}
	eventually(t, "no thread is left in the map", func() bool { return waiting(t, k) == 0 })
}

// The whole of a storm goes on, once each, and in the order in which each process wanted it.
func TestGuestStorm(t *testing.T) {
	processes, each := 12, 20
	if os.Getenv(soakVariable) != "" {
		processes = 50
	}
	dir := t.TempDir()
	k := keep(t, Config{})
	var all []*process
	for i := range processes {
		all = append(all, begin(t, fmt.Sprintf("storm %s/%d %d", dir, i, each)))
	}
	k.waits(t, processes)
	if err := k.Order(WindowOpen, 0); err != nil {
		t.Fatal(err)
	}
	for i, p := range all {
		if out := p.ends(); out != "done" {
			t.Errorf("process %d: %q", i, out)
		}
		text, err := os.ReadFile(fmt.Sprintf("%s/%d", dir, i))
		var want strings.Builder
		for n := range each {
			fmt.Fprintln(&want, n)
		}
		if err != nil || string(text) != want.String() {
			t.Errorf("process %d did %q (%v), want %q", i, text, err, want.String())
		}
	}
	eventually(t, "the records", func() bool { return len(k.all()) >= processes })
	for _, r := range k.all() {
		r.want(t, Held, ByWindow)
	}
	if n := len(k.all()); n != processes {
		t.Errorf("%d records, want one for each of %d processes", n, processes)
	}
	if n := waiting(t, k); n != 0 {
		t.Errorf("%d threads are left in the map", n)
	}
	// The order of release is that of arrival.
	ids := make([]uint64, 0, processes)
	for _, r := range k.all() {
		ids = append(ids, r.ID)
	}
	if !slices.IsSorted(ids) {
		t.Errorf("released in the order %v", ids)
	}
}

// No operation passes a hook without a look: the programs are those of a security
// module, or what the kernel passes by is counted. A record wakes the keeper, which
// preempts who makes it in the program, where the kernel allows that.
func TestGuestNothingUnseen(t *testing.T) {
	const processes, each, rounds = 30, 20, 3
	unseen := uint64(0)
	for range rounds {
		k := keepAnew(t, Config{Policy: Report}) // the kernel counts what a program misses from its loading on
		eventually(t, "it is closed", func() bool { s, err := k.Status(); return err == nil && s.Closed })
		unseen += unseenInStorm(t, k, processes, each)
		k.stop()
	}
	t.Logf("%d of %d operations unseen", unseen, processes*each*rounds)
	if unseen == 0 && os.Getenv(missesVariable) != "" {
		t.Errorf("this kernel preempts programs at its functions: want that some operations are unseen")
	}
}

// unseenInStorm returns how many operations of a storm were not recorded, after
// comparing that with what the kernel counted.
func unseenInStorm(t *testing.T, k *keeping, processes, each int) uint64 {
	t.Helper()
	dir := t.TempDir()
	var all []*process
	for i := range processes {
		all = append(all, beginAlone(t, fmt.Sprintf("storm %s/%d %d", dir, i, each)))
	}
	for i, p := range all {
		if out := p.ends(); out != "done" {
			t.Errorf("process %d: %q", i, out)
		}
	}
	stats, err := k.guard.coll.Programs[bpfProgSecuritySocketSetsockopt].Stats()
	if err != nil {
		t.Fatal(err)
	}
	missed, want := stats.RecursionMisses, uint64(processes*each)
	recorded := func() uint64 { return uint64(len(k.all())) }
	eventually(t, "the records", func() bool { return recorded()+missed >= want })
	if n := recorded(); n+missed != want {
		t.Errorf("%d operations recorded and %d passed by, want %d together", n, missed, want)
	}
	s, err := k.Status()
	if err != nil || s.Missed < missed {
		t.Errorf("the status says that %d were missed (%v), the kernel %d", s.Missed, err, missed)
	}
	return missed
}

// missesVariable says that operations pass unseen on this kernel with its parameters.
const missesVariable = "TASKISO_TEST_MISSES"

// Whether the programs can be those of a security module is found out without the
// list that says so.
func TestGuestAsksModules(t *testing.T) {
	list, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Contains(strings.Split(string(list), ","), "bpf")
	if k := keep(t, Config{}); k.guard.asksModules != want {
		t.Errorf("asks modules: %v, want %v with %s", k.guard.asksModules, want, list)
	}
}

// soakVariable asks for the tests at their full length, as make soak does.
const soakVariable = "TASKISO_TEST_SOAK"

// Whenever the keeper is killed, everything goes on.
func TestGuestKilledKeeper(t *testing.T) {
	kills := 6
	if os.Getenv(soakVariable) != "" {
		kills = 200
	}
	for n := range kills {
		keeper := command("keeper")
		ready, err := keeper.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		keeper.Stderr = os.Stderr
		if err := keeper.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fscanln(ready, new(string)); err != nil {
			t.Fatalf("the keeper does not start: %v", err)
		}
		var jobs []*process
		for range 4 {
			jobs = append(jobs, beginAlone(t, "thrifty"))
		}
		// Before they are held, while they are being stopped, and after.
		time.Sleep(time.Duration(n%20) * 10 * time.Millisecond)
		keeper.Process.Kill()
		keeper.Wait()
		for _, p := range jobs {
			if out := p.ends(); out != "done" {
				t.Errorf("kill %d: %q", n, out)
			}
		}
	}
	t.Logf("killed %d times", kills)
	k := keep(t, Config{}) // another holds as if those had never been
	p := begin(t, "timestamps")
	k.waits(t, 1)
	if _, err := k.Release(All); err != nil {
		t.Error(err)
	}
	if out := p.ends(); out != "done" {
		t.Errorf("after the kills: %q", out)
	}
	k.only(t).want(t, Held, ByHand)
}

func TestGuestNotSupported(t *testing.T) {
	const btf = "/sys/kernel/btf"
	if err := unix.Mount("none", btf, "tmpfs", 0, ""); err != nil {
		t.Fatalf("hiding %s: %v", btf, err)
	}
	defer unix.Unmount(btf, 0)
	if k, err := Open(testConfig(t, Config{})); !errors.Is(err, ErrNotSupported) {
		t.Errorf("got %v, want an error that says that it is not supported", err)
		k.Close()
	}
}
