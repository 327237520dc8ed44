// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/session/account"
	"github.com/taskiso/taskiso/internal/trace"
)

// fakeWatch is a machine whose CPU 3 is in a state that a test sets. A thread comes back from
// its call at once.
type fakeWatch struct {
	mu        sync.Mutex
	occupant  int // slot, or -1
	busy      bool
	disturbed time.Duration
	granted   []uint32
	answered  []uint32
	withdrawn int
	slots     map[uint32]int
	stuck     uint32 // thread that never comes back from its call
	ahead     time.Duration
}

func (w *fakeWatch) Assign(tid uint32, slot int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slots[tid] = slot
	return nil
}

func (w *fakeWatch) Release(tid uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.slots, tid)
	return nil
}

func (w *fakeWatch) Grant(_ int, tid uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.granted = append(w.granted, tid)
}

func (w *fakeWatch) Answer(_ int, tid uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answered = append(w.answered, tid)
}

func (w *fakeWatch) Withdraw(int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.withdrawn++
}

func (w *fakeWatch) Answered(int) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.withdrawn == 0 && slices.Contains(w.granted, w.stuck) {
		return w.stuck
	}
	return 0
}

func (w *fakeWatch) Occupant(int) (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.occupant, w.occupant >= 0
}

func (w *fakeWatch) Idle(int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.busy
}

func (w *fakeWatch) Disturbed(int) (time.Duration, taskiso.Cause) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.disturbed, taskiso.Timer
}

func (w *fakeWatch) Ahead(int) time.Duration { return w.ahead }

func (w *fakeWatch) Pages() int { return 77 }

// answer is what a caller got.
type answer struct {
	value int64
	errno unix.Errno
	fd    int
}

// fakeCalls are the calls of one test.
type fakeCalls struct {
	calls   chan seccomp.Call
	answers chan answer
	gone    bool
}

func (f *fakeCalls) Next() (seccomp.Call, error) {
	c, ok := <-f.calls
	if !ok {
		return c, os.ErrClosed
	}
	return c, nil
}

func (f *fakeCalls) Answer(_ seccomp.Call, value int64, errno unix.Errno) error {
	if f.gone {
		return seccomp.ErrGone
	}
	f.answers <- answer{value: value, errno: errno}
	return nil
}

func (f *fakeCalls) AnswerFile(_ seccomp.Call, fd int) error {
	f.answers <- answer{fd: fd}
	return nil
}

func (f *fakeCalls) Waits(seccomp.Call) bool { return !f.gone }

type fixture struct {
	*Supervisor
	watch *fakeWatch
	calls *fakeCalls
	cpus  map[int][]int // by thread
}

const enable = abi.Enable | 10<<abi.SignalShift

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		watch: &fakeWatch{occupant: -1, slots: map[uint32]int{}},
		calls: &fakeCalls{calls: make(chan seccomp.Call), answers: make(chan answer, 1)},
		cpus:  map[int][]int{100: {3}, 101: {3}, 102: {2, 3}, 103: {1}},
	}
	isolable, err := cpulist.New(3)
	if err != nil {
		t.Fatal(err)
	}
	f.Supervisor, err = New(Config{
		Isolation: f.watch, CPUs: isolable, Settle: 100 * time.Millisecond,
		Affinity: func(tid int) (cpulist.Set, error) { return cpulist.New(f.cpus[tid]...) },
	}, f.calls)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- f.Serve() }()
	t.Cleanup(func() {
		close(f.calls.calls)
		err := <-served
		f.Describe(100, 1, "late", "what is read when nobody can call any more")
		if err := errors.Join(err, f.Close(), f.Err()); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *fixture) call(tid uint32, option int, args ...uint64) answer {
	c := seccomp.Call{TID: tid, Option: option}
	copy(c.Args[:], args)
	f.calls.calls <- c
	return <-f.calls.answers
}

func TestAnswers(t *testing.T) {
	f := newFixture(t)
	for _, tc := range []struct {
		name   string
		tid    uint32
		option int
		args   []uint64
		want   answer
	}{
		{"third argument", 100, 48, []uint64{enable, 1}, answer{errno: unix.EINVAL}},
		{"fifth argument", 100, 48, []uint64{0, 0, 0, 1}, answer{errno: unix.EINVAL}},
		{"signal 65", 100, 48, []uint64{abi.Enable | 65<<abi.SignalShift}, answer{errno: unix.EINVAL}},
		{"two CPUs", 102, 48, []uint64{enable}, answer{errno: unix.EINVAL}},
		{"another CPU", 103, 48, []uint64{enable}, answer{errno: unix.EINVAL}},
		{"what it has asked for: nothing yet", 100, 49, nil, answer{}},
		{"leaving, though not isolated", 100, 48, []uint64{0}, answer{}},
		{"its status page", 100, 48, []uint64{abi.Slot}, answer{value: 0}},
		{"the pages", 100, 48, []uint64{abi.Pages}, answer{fd: 77}},
		{"on a quiet CPU", 100, 48, []uint64{enable}, answer{}},
		{"what it has asked for", 100, 49, nil, answer{value: enable}},
		{"the status page of another", 101, 48, []uint64{abi.Slot}, answer{value: 1}},
	} {
		if got := f.call(tc.tid, tc.option, tc.args...); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
	if len(f.watch.granted) != 1 || f.watch.granted[0] != 100 {
		t.Errorf("granted to %v, want 100", f.watch.granted)
	}
}

func TestNotQuiet(t *testing.T) {
	for why, disturb := range map[string]func(*fakeWatch){
		"timer interrupt":         func(w *fakeWatch) { w.disturbed = 1 << 62 },
		"another task":            func(w *fakeWatch) { w.busy = true },
		"another isolated thread": func(w *fakeWatch) { w.occupant = 17 },
	} {
		f := newFixture(t)
		disturb(f.watch)
		if got := f.call(100, 48, enable); got.errno != unix.EAGAIN {
			t.Errorf("%s: %+v, want EAGAIN", why, got)
		}
		if c := f.Calls()[0]; c.TID != 100 || c.Attempts != 1 || c.NotQuiet != 1 || c.WaitedFor[why] != 1 || c.Longest < 100*time.Millisecond {
			t.Errorf("%s: %+v", why, c)
		}
		if len(f.watch.granted) > 0 {
			t.Errorf("%s: granted all the same", why)
		}
	}
}

// The CPU is granted as soon as it is quiet, not at the end of the time.
func TestBecomesQuiet(t *testing.T) {
	f := newFixture(t)
	f.watch.busy = true
	f.cfg.Settle = time.Hour
	time.AfterFunc(20*time.Millisecond, func() {
		f.watch.mu.Lock()
		defer f.watch.mu.Unlock()
		f.watch.busy = false
	})
	if got := f.call(100, 48, enable); got != (answer{}) {
		t.Errorf("%+v, want 0", got)
	}
	if c := f.Calls()[0]; c.Granted != 1 || c.WaitedFor["another task"] != 1 {
		t.Errorf("%+v", c)
	}
}

// The end of the observation does not wait until a CPU becomes quiet.
func TestCancelEndsTheWait(t *testing.T) {
	f := newFixture(t)
	f.watch.busy = true
	f.cfg.Settle = 24 * time.Hour
	time.AfterFunc(20*time.Millisecond, f.Cancel)
	if got := f.call(100, 48, enable); got.errno != unix.EAGAIN {
		t.Errorf("%+v, want EAGAIN", got)
	}
	f.Cancel() // twice is once
	if got := f.call(101, 48, enable); got.errno != unix.EAGAIN {
		t.Errorf("after it: %+v, want EAGAIN", got)
	}
	if c := f.Calls()[0]; c.NotQuiet != 1 || len(f.watch.granted) != 0 {
		t.Errorf("%+v, granted to %v", c, f.watch.granted)
	}
}

// However many threads try, their accounts are bounded, and nothing is lost of the sums.
func TestAccountsAreBounded(t *testing.T) {
	f := newFixture(t)
	const threads = 3 * maxAccounts
	for tid := uint32(1000); tid < 1000+threads; tid++ { // with no CPU: EINVAL
		f.call(tid, 48, enable)
	}
	calls := f.Calls()
	var attempts uint64
	for _, c := range calls {
		attempts += c.Attempts
	}
	if len(calls) != maxAccounts+1 || attempts != threads {
		t.Errorf("%d accounts of %d attempts, want %d of %d", len(calls), attempts, maxAccounts+1, threads)
	}
	if others := calls[0]; others.TID != account.Others || others.Invalid != threads-maxAccounts {
		t.Errorf("the others: %+v", others)
	}
}

// A signal ends a call while it waits; nothing stays granted.
func TestCallerIsGone(t *testing.T) {
	f := newFixture(t)
	f.watch.busy = true
	f.calls.gone = true
	f.started = 0
	f.calls.calls <- seccomp.Call{TID: 100, Option: 48, Args: [4]uint64{enable}}
	for since := time.Now(); ; time.Sleep(time.Millisecond) {
		if all := f.Calls(); len(all) == 1 && all[0].Cut == 1 {
			break
		}
		if time.Since(since) > 10*time.Second {
			t.Fatalf("%+v", f.Calls())
		}
	}
	f.watch.mu.Lock()
	f.watch.busy = false
	f.watch.mu.Unlock()
	f.calls.calls <- seccomp.Call{TID: 101, Option: 48, Args: [4]uint64{enable}}
	for since := time.Now(); ; time.Sleep(time.Millisecond) {
		f.watch.mu.Lock()
		granted, withdrawn := len(f.watch.granted), f.watch.withdrawn
		f.watch.mu.Unlock()
		if granted == 1 && withdrawn == 1 {
			return
		}
		if time.Since(since) > 10*time.Second {
			t.Fatalf("granted %d times, withdrawn %d times; want both once", granted, withdrawn)
		}
	}
}

// A thread that is moved on its way back from its call leaves its CPU to others.
func TestMovedOnItsWayBack(t *testing.T) {
	f := newFixture(t)
	f.watch.stuck = 100
	f.cfg.Settle = time.Second // a tenth of the time that one is waited for that stays there
	f.cfg.Affinity = func(tid int) (cpulist.Set, error) {
		f.watch.mu.Lock()
		defer f.watch.mu.Unlock()
		if slices.Contains(f.watch.granted, 100) && tid == 100 {
			return cpulist.New(1)
		}
		return cpulist.New(3)
	}
	if got := f.call(100, 48, enable); got != (answer{}) {
		t.Fatalf("%+v, want 0", got)
	}
	if got := f.call(101, 48, enable); got != (answer{}) {
		t.Errorf("another thread after it has left: %+v, want 0", got)
	}
}

func TestStatusPagesRunOut(t *testing.T) {
	f := newFixture(t)
	for tid := range uint32(trace.StatusSlots) {
		f.cpus[int(tid)+1000] = []int{3}
		if got := f.call(tid+1000, 48, abi.Slot); got.value != int64(tid) {
			t.Fatalf("slot of thread %d: %+v", tid, got)
		}
	}
	if got := f.call(100, 48, abi.Slot); got.errno != unix.EUSERS {
		t.Errorf("one thread too many: %+v", got)
	}
	if got := f.call(100, 48, enable); got.errno != unix.EAGAIN {
		t.Errorf("one thread too many: %+v", got)
	}
	f.Ended(1007, clock.Now())
	if got := f.call(100, 48, abi.Slot); got.value != 7 {
		t.Errorf("after a thread has ended: %+v, want its page", got)
	}
}

// A thread that has the number of one that ended a moment before keeps its page when that is read.
func TestNumberIsUsedAgain(t *testing.T) {
	f := newFixture(t)
	f.started = 0
	call := func(at time.Duration, option int, flags uint64) answer {
		f.calls.calls <- seccomp.Call{TID: 100, Option: option, Args: [4]uint64{flags}, At: at}
		return <-f.calls.answers
	}
	assigned := func() bool {
		f.watch.mu.Lock()
		defer f.watch.mu.Unlock()
		_, ok := f.watch.slots[100]
		return ok
	}
	if got := call(10, 48, enable); got != (answer{}) {
		t.Fatalf("isolation: %+v", got)
	}
	f.watch.Release(100) // as the programs do where it ends, at 15
	if got := call(20, 48, abi.Slot); got != (answer{}) {
		t.Errorf("page of another thread of that number: %+v, want 0", got)
	}
	if !assigned() {
		t.Error("the other thread was given no page")
	}
	f.Ended(100, 15)
	if got := call(30, 49, 0); got != (answer{}) {
		t.Errorf("it has flags %#x of who had its number", got.value)
	}
	if !assigned() {
		t.Error("it lost its page to the end of who had its number")
	}
	f.Ended(100, 40)
	if assigned() {
		t.Error("it has ended, and still has a page")
	}
}

func TestStory(t *testing.T) {
	f := newFixture(t)
	if got := f.call(100, 48, abi.Stories); got.fd <= 0 {
		t.Fatalf("%+v", got)
	}
	page, err := unix.Mmap(f.stories.fd, 0, abi.PageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(page)
	story := (*abi.Story)(unsafe.Pointer(unsafe.SliceData(page)))
	long := make([]byte, 2000)
	for i := range long {
		long[i] = 'x'
	}
	f.watch.ahead = 1000 // in its time namespace
	f.Describe(100, 4711, "tick", "the tick")
	f.Describe(101, 1, "not", "its own") // has no page
	if id, text := unix.ByteSliceToString(story.ID[:]), unix.ByteSliceToString(story.Text[:]); id != "tick" || text != "the tick" || story.Seq != 2 || story.Time != 5711 {
		t.Errorf("%q %q, sequence %d, at %d", id, text, story.Seq, story.Time)
	}
	f.Describe(100, 4712, string(long), string(long))
	if id, text := unix.ByteSliceToString(story.ID[:]), unix.ByteSliceToString(story.Text[:]); len(id) != 63 || len(text) != 1023 {
		t.Errorf("too long: %d and %d bytes", len(id), len(text))
	}
}

// TestStoriesCannotBeChanged does what a task with the descriptor can do to the
// memory that the supervisor writes to.
func TestStoriesCannotBeChanged(t *testing.T) {
	f := newFixture(t)
	again, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.stories.fd), unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("opening the descriptor again for writing, as its owner can: %v", err)
	}
	defer unix.Close(again)
	for _, fd := range []int{f.stories.fd, again} {
		attacks := map[string]func() error{
			"truncate":  func() error { return unix.Ftruncate(fd, 0) },
			"grow":      func() error { return unix.Ftruncate(fd, 1<<30) },
			"write":     func() error { _, err := unix.Pwrite(fd, []byte{1}, 0); return err },
			"punch":     func() error { return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096) },
			"map":       func() error { return mapWritable(fd) },
			"add seals": func() error { _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); return err },
			"mprotect":  func() error { return protectWritable(fd) },
			"remove":    func() error { return removePages(fd) },
		}
		for name, attack := range attacks {
			if attack() == nil {
				t.Errorf("%s succeeds, descriptor for writing: %v", name, fd == again)
			}
		}
	}
	f.call(100, 48, abi.Slot)
	f.Describe(100, 1, "tick", "the tick") // would end this process by SIGBUS in a file that was truncated
}

func mapWritable(fd int) error {
	b, err := unix.Mmap(fd, 0, abi.PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err == nil {
		unix.Munmap(b)
	}
	return err
}

func protectWritable(fd int) error {
	b, err := unix.Mmap(fd, 0, abi.PageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(b)
	return unix.Mprotect(b, unix.PROT_READ|unix.PROT_WRITE)
}

func removePages(fd int) error {
	b, err := unix.Mmap(fd, 0, abi.PageSize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	defer unix.Munmap(b)
	return unix.Madvise(b, unix.MADV_REMOVE)
}
