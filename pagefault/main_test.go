// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/vmtest"
)

func TestMain(m *testing.M) { vmtest.Main(m) }

var page = os.Getpagesize()

// memory is a mapping made by a test.
type memory []byte

func (m memory) start() uint64 { return uint64(uintptr(unsafe.Pointer(&m[0]))) }
func (m memory) span() Range   { return Range{m.start(), m.start() + uint64(len(m))} }

// address of byte i of page n: not the same in all pages, so that a page's start
// cannot be taken for it.
func (m memory) address(n int) uint64 { return m.start() + uint64(n*page+offsetIn(n)) }
func offsetIn(n int) int              { return (n*24 + 8) % page }

func (m memory) write(n int) { m[n*page+offsetIn(n)] = 1 }

// read is not inlined: the compiler would leave out a byte that nobody uses.
//
//go:noinline
func (m memory) read(n int) byte { return m[n*page+offsetIn(n)] }

func (m memory) pages() int { return len(m) / page }
func (m memory) addresses() []uint64 {
	var a []uint64
	for n := range m.pages() {
		a = append(a, m.address(n))
	}
	return a
}

// mapPages maps anonymous memory without huge pages.
func mapPages(t testing.TB, pages int) memory {
	t.Helper()
	m, err := unix.Mmap(-1, 0, pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal("mapping memory: ", err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	if err := unix.Madvise(m, unix.MADV_NOHUGEPAGE); err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal("forbidding huge pages: ", err)
	}
	return m
}

// onThread locks the test to its thread.
func onThread(t testing.TB) {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
}

// onQuietThread also blocks signals. The Go runtime interrupts threads with SIGURG.
// When that happens while the kernel waits for a page, it gives up; the access is
// repeated after the signal, finds the page there, and is a minor fault then.
func onQuietThread(t testing.TB) {
	t.Helper()
	onThread(t)
	var all, before unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, &before); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil) })
}

// watchTest watches for the time of a test.
func watchTest(t testing.TB, target Target, o Options) *Watcher {
	t.Helper()
	w, err := Watch(target, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

// stopAndRead returns all faults until now and the final counts.
func stopAndRead(t testing.TB, w *Watcher) ([]Fault, Counts) {
	t.Helper()
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	return readAll(t, w)
}

func readAll(t testing.TB, w *Watcher) ([]Fault, Counts) {
	t.Helper()
	var faults []Fault
	for {
		f, err := w.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		faults = append(faults, f)
	}
	c, err := w.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if c.Total() != c.Reported+c.Filtered+c.Suppressed+c.Lost {
		t.Errorf("counts do not add up: %+v", c)
	}
	if int(c.Reported) != len(faults) {
		t.Errorf("%d faults returned, %d counted", len(faults), c.Reported)
	}
	return faults, c
}

// wantFaults compares the faults in m with the addresses that were accessed. It
// also checks what must hold for every fault.
func wantFaults(t testing.TB, faults []Fault, m memory, wantMajor bool, want []uint64) {
	t.Helper()
	var got []uint64
	var last time.Duration
	for _, f := range faults {
		if f.Time < last {
			t.Errorf("%v: at %v, after one at %v", &f, f.Time, last)
		}
		last = f.Time
		if !m.span().contains(f.Address) {
			continue
		}
		got = append(got, f.Address)
		if f.Major != wantMajor {
			t.Errorf("%v: want major %v", &f, wantMajor)
		}
		if f.PID != os.Getpid() || f.TID != unix.Gettid() || f.Kernel {
			t.Errorf("%v: process %d, kernel mode %v; want process %d, thread %d, user mode", &f, f.PID, f.Kernel, os.Getpid(), unix.Gettid())
		}
		if name := functionAt(f.IP); name == "" {
			t.Errorf("%v: the instruction is in no function of this program", &f)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d faults at %#x,\nwant %d at %#x", len(got), got, len(want), want)
	}
}

func functionAt(ip uint64) string {
	f := runtime.FuncForPC(uintptr(ip))
	if f == nil {
		return ""
	}
	return f.Name()
}

// at is the place of page n of m.
func at(m memory, n int) unsafe.Pointer { return unsafe.Pointer(&m[n*page]) }
