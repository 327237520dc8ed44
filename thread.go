// SPDX-License-Identifier: Apache-2.0

package taskiso

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/affinity"
)

// Errors of Open and Enter.
var (
	// ErrNotSupported: the program is not running under taskiso. It was not started by
	// "taskiso run", or that lacked privileges, or has ended.
	ErrNotSupported = errors.New("the program is not running under taskiso: start it with \"taskiso run\"")
	// ErrNotIsolated: the thread is not on exactly one CPU that is isolated and
	// observed.
	ErrNotIsolated = errors.New("not on exactly one isolated CPU that is observed")
	// ErrNotQuiet: something disturbs the CPU. Context errors wrap it.
	ErrNotQuiet = errors.New("the CPU does not become quiet")
)

// Thread is a thread that can be isolated. Open, Enter, Leave, Window and Close are for
// that thread only, the other methods for any goroutine.
type Thread struct {
	page   *abi.Status
	story  *abi.Story
	ask    *abi.Ask    // an own one where nobody reads what is asked
	files  [3][]byte   // what is mapped
	before cpulist.Set // where the thread could run before it was pinned; empty if it is not
}

// Open maps the status page of the calling thread and pins the thread to a CPU, until
// Close. If it fails, the thread is as it was. The goroutine must have called
// [runtime.LockOSThread].
func Open(cpu int) (*Thread, error) {
	t, err := openPage()
	if err != nil {
		return nil, err
	}
	before, err := pin(cpu)
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	t.before = before
	return t, nil
}

// pin confines the calling thread to a CPU and returns where it could run before.
func pin(cpu int) (before cpulist.Set, err error) {
	if before, err = affinity.Of(0); err != nil {
		return cpulist.Set{}, err
	}
	return before, affinity.Pin(cpu)
}

// openPage maps the calling thread's status page and story.
func openPage() (*Thread, error) {
	slot, errno := prctl(abi.Slot)
	if errno != 0 {
		return nil, fmt.Errorf("opening the thread's status page: %w (%w)", ErrNotSupported, errno)
	}
	t := &Thread{ask: &abi.Ask{}}
	for i, request := range []uintptr{abi.Pages, abi.Stories} {
		var err error
		if t.files[i], err = mapFile(request, slot, unix.PROT_READ); err != nil {
			return nil, errors.Join(err, t.Close())
		}
	}
	t.page = (*abi.Status)(unsafe.Pointer(unsafe.SliceData(t.files[0])))
	t.story = (*abi.Story)(unsafe.Pointer(unsafe.SliceData(t.files[1])))
	if t.page.Version != abi.Version {
		return nil, errors.Join(fmt.Errorf("reading the status page: it has version %d, this package knows %d", t.page.Version, abi.Version), t.Close())
	}
	t.openAsk(slot)
	return t, nil
}

// openAsk maps the page on which the thread asks. An older taskiso has none.
func (t *Thread) openAsk(slot int) {
	var err error
	if t.files[2], err = mapFile(abi.Asks, slot, unix.PROT_READ|unix.PROT_WRITE); err == nil {
		t.ask = (*abi.Ask)(unsafe.Pointer(unsafe.SliceData(t.files[2])))
		t.Snapshot(0) // the page fault of the first store is here
	}
}

// Snapshot asks the flight recorder of "taskiso run --flight" to keep the past, with a number for its report, which is not
// 0. It is one store: no system call, no break. The recorder sees it within some 10 ms; of several in that time it sees the last.
func (t *Thread) Snapshot(id uint32) { atomic.StoreUint32(&t.ask.Snapshot, id) }

func mapFile(request uintptr, slot, prot int) ([]byte, error) {
	fd, errno := prctl(request)
	if errno != 0 {
		return nil, fmt.Errorf("opening the thread's status page: %w", errno)
	}
	defer unix.Close(fd)
	b, err := unix.Mmap(fd, int64(slot)*abi.PageSize, abi.PageSize, prot, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, fmt.Errorf("mapping the thread's status page: %w", err)
	}
	return b, nil
}

// Close unmaps the status page and lets the thread run where it could before Open.
// The thread must not be isolated, and no method be called afterwards.
func (t *Thread) Close() error {
	var errs []error
	if !t.before.IsEmpty() {
		if err := affinity.Set(0, t.before); err != nil {
			errs = append(errs, fmt.Errorf("letting the thread run where it could before: %w", err))
		}
	}
	for _, b := range t.files {
		if b != nil {
			errs = append(errs, unix.Munmap(b))
		}
	}
	return errors.Join(errs...)
}

// prctl makes the call without notifying Go's scheduler: a thread that comes back
// from a system call that the scheduler knows of may have to wait for its processor.
func prctl(flags uintptr) (int, syscall.Errno) {
	r, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, abi.SetTaskIsolation, flags, 0, 0, 0, 0)
	return int(r), errno
}

// Enter isolates the thread. While its CPU is not quiet it tries again until ctx
// ends, but each try takes as long as "taskiso run --settle" allows, 1 s by
// default, during which the goroutine cannot be preempted: a garbage collection
// waits for it.
//
// A break sends sig to the thread; 0, the usual choice in Go, for none: then only
// the status page shows it. Another signal that the thread is delivered is the break
// itself, and sends nothing else. It is an error if sig is negative or beyond 64.
//
// The error is [ErrNotIsolated], [ErrNotSupported], or that of ctx, which then
// may wrap [ErrNotQuiet].
func (t *Thread) Enter(ctx context.Context, sig syscall.Signal) error {
	if sig < 0 || sig > 64 {
		return fmt.Errorf("entering isolation: signal %d: %w", sig, unix.EINVAL)
	}
	for yields := 0; ; {
		start := time.Now()
		_, errno := prctl(abi.Enable | abi.UserSig | uintptr(sig)<<abi.SignalShift)
		switch {
		case errno == 0 && (time.Since(start) < yieldAfter || yields == maxYields):
			return nil
		case errno == 0:
			yields++
			if err := t.Leave(); err != nil {
				return err
			}
		case errno == unix.EINVAL:
			return fmt.Errorf("entering isolation: %w", ErrNotIsolated)
		case errno != unix.EAGAIN && errno != unix.EINTR:
			return fmt.Errorf("entering isolation: %w (%w)", ErrNotSupported, errno)
		case ctx.Err() != nil && errno == unix.EAGAIN:
			return fmt.Errorf("entering isolation: %w: %w", ErrNotQuiet, ctx.Err())
		case ctx.Err() != nil:
			return fmt.Errorf("entering isolation: %w", ctx.Err())
		}
		runtime.Gosched()
	}
}

// Go's scheduler wants a goroutine to yield that ran for 10 ms (forcePreemptNS in
// the runtime), and it does at the next call of a function: with a system call,
// that of futex. So a call that took nearly as long is not good enough. The CPU being
// quiet by then, the next one is quick, unless an interrupt comes in between. On a busy virtual machine three more were
// seen not to be enough.
const (
	yieldAfter = 5 * time.Millisecond
	maxYields  = 20
)

// Leave ends isolation. No signal for an earlier break comes after it.
func (t *Thread) Leave() error {
	if _, errno := prctl(0); errno != 0 {
		return fmt.Errorf("leaving isolation: %w (%w)", ErrNotSupported, errno)
	}
	return nil
}

// Window ends isolation and lets operations of other programs be done that
// "taskiso run --hold" kept back for the sake of this thread: it waits for them for
// up to 1 s. They go on waiting while another thread of the program is isolated.
// Without --hold it is Leave. The next Enter ends the window.
func (t *Thread) Window() error {
	if _, errno := prctl(abi.Window); errno != 0 {
		return fmt.Errorf("opening a window: %w (%w)", ErrNotSupported, errno)
	}
	return nil
}

// Isolated reports whether the thread is isolated. It is one load, and never true
// when nobody watches the thread any more.
func (t *Thread) Isolated() bool { return atomic.LoadUint32(&t.page.Isolated) != 0 }

// Status is what a thread can read about its isolation.
type Status struct {
	Isolated bool
	Entered  uint64        // how often isolation began
	Since    time.Duration // CLOCK_MONOTONIC, when it last began
	Breaks   uint64        // how often it was broken
	Last     Break         // the last one, if Breaks is not 0
}

// Break is the end of isolation by something the thread did not want.
type Break struct {
	Time   time.Duration // CLOCK_MONOTONIC
	Cause  Cause
	Detail uint64 // see Cause
	CPU    int
}

// Breaks returns how often isolation was broken.
func (t *Thread) Breaks() uint64 { return atomic.LoadUint64(&t.page.Breaks) }

// Status returns the status of the thread, all of it from one moment.
func (t *Thread) Status() Status {
	p := t.page
	for {
		seq := atomic.LoadUint32(&p.Seq)
		s := Status{
			Isolated: atomic.LoadUint32(&p.Isolated) != 0,
			Entered:  atomic.LoadUint64(&p.Entered),
			Since:    time.Duration(atomic.LoadUint64(&p.Since)),
			Breaks:   atomic.LoadUint64(&p.Breaks),
			Last: Break{
				Time:   time.Duration(atomic.LoadUint64(&p.Time)),
				Cause:  Cause(atomic.LoadUint32(&p.Cause)),
				Detail: atomic.LoadUint64(&p.Detail),
				CPU:    int(atomic.LoadUint32(&p.CPU)),
			},
		}
		if seq&1 == 0 && seq == atomic.LoadUint32(&p.Seq) {
			return s
		}
	}
}

// Story returns what taskiso found out about the last break: the cause's id, which
// "taskiso explain" knows, and a text with the cause and the sender. It is known some
// milliseconds after the break; ok is false until then.
func (t *Thread) Story() (id, text string, ok bool) {
	for {
		seq := atomic.LoadUint32(&t.story.Seq)
		told := *t.story
		if seq&1 == 0 && seq == atomic.LoadUint32(&t.story.Seq) {
			s := t.Status()
			known := s.Breaks > 0 && told.Time >= uint64(s.Last.Time)
			return unix.ByteSliceToString(told.ID[:]), unix.ByteSliceToString(told.Text[:]), known
		}
	}
}
