// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func TestFirstTouchOfAnonymousMemory(t *testing.T) {
	onThread(t)
	m := mapPages(t, 100)
	w := watchTest(t, Thread(0), Options{})
	for n := range m.pages() {
		m.write(n)
		m.write(n) // it is there now
	}
	faults, c := stopAndRead(t, w)
	wantFaults(t, faults, m, false, m.addresses())
	if c.Lost+c.Filtered+c.Suppressed > 0 {
		t.Errorf("counts %+v", c)
	}
	for _, f := range faults {
		if m.span().contains(f.Address) && (f.Mapping.Kind != Anonymous || f.Mapping.Protection != "rw-") {
			t.Errorf("%v: mapping %+v", &f, f.Mapping)
		}
		if m.span().contains(f.Address) && !strings.HasSuffix(functionAt(f.IP), "memory.write") &&
			!strings.HasSuffix(functionAt(f.IP), "TestFirstTouchOfAnonymousMemory") {
			t.Errorf("%v: in function %s", &f, functionAt(f.IP))
		}
		if m.span().contains(f.Address) && f.Code.Kind != File {
			t.Errorf("%v: code in %v", &f, f.Code)
		}
	}
}

// The kernel's own count of the thread's faults is the judge: none is missed and
// none invented, whatever the runtime does besides.
func TestAgreesWithTheKernelsCount(t *testing.T) {
	onThread(t)
	m := mapPages(t, 200)
	level, err := paranoid()
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 && level > 1 {
		t.Skip("the kernel counts faults in kernel mode as well; seeing those needs privileges")
	}
	w := watchTest(t, Thread(0), Options{KernelMode: true, Paused: true})
	events := w.open.groups[0].events[0]
	var before, after unix.Rusage
	count := func() error {
		return errors.Join(unix.Getrusage(unix.RUSAGE_THREAD, &before), events.enableGroup(), touchAll(m),
			events.disableGroup(), unix.Getrusage(unix.RUSAGE_THREAD, &after))
	}
	if err := count(); err != nil { // once to have all code and data of it at hand
		t.Fatal(err)
	}
	stale, _ := w.Counts()
	m = mapPages(t, 200)
	if err := count(); err != nil {
		t.Fatal(err)
	}
	_, c := stopAndRead(t, w)
	if got, want := int64(c.Total()-stale.Total()), int64(after.Minflt-before.Minflt+after.Majflt-before.Majflt); got != want || want < 200 {
		t.Errorf("%d faults reported, the kernel counted %d", got, want)
	}
}

func touchAll(m memory) error {
	for n := range m.pages() {
		m.write(n)
	}
	return nil
}

func TestKernelMode(t *testing.T) {
	onThread(t)
	zero, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer zero.Close()
	for _, kernelMode := range []bool{false, true} {
		m := mapPages(t, 3)
		w, err := Watch(Thread(0), Options{KernelMode: kernelMode, Ranges: []Range{m.span()}})
		if errors.Is(err, ErrNotPermitted) && os.Geteuid() != 0 {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		if _, err := unix.Read(int(zero.Fd()), m); err != nil {
			t.Fatal(err)
		}
		faults, _ := stopAndRead(t, w)
		want := 0
		if kernelMode {
			want = 3
		}
		if len(faults) != want {
			t.Errorf("kernel mode %v: %d faults, want %d", kernelMode, len(faults), want)
		}
		for _, f := range faults {
			if !f.Kernel {
				t.Errorf("%v is not in kernel mode", &f)
			}
		}
	}
}

// What is in the page cache is mapped on a fault, and with it some of the pages
// around it: which, the page table says.
func TestFileMapping(t *testing.T) {
	onThread(t)
	const pages, skipped = 100, 3
	f := fileOf(t, pages+skipped)
	w := watchTest(t, Thread(0), Options{}) // before it is mapped: the mapping is known only from a record
	b, err := unix.Mmap(int(f.Fd()), int64(skipped*page), pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	m := memory(b)
	faults, _ := readMissing(t, w, m, false)
	for _, fault := range faults {
		if !m.span().contains(fault.Address) {
			continue
		}
		if fault.Mapping.Kind != File || fault.Mapping.Name != f.Name() || !fault.Mapping.Shared || fault.Mapping.Protection != "rw-" {
			t.Errorf("%v: mapping %+v", &fault, fault.Mapping)
		}
		if got, want := fault.Mapping.FileOffset(fault.Address), fault.Address-m.start()+skipped*uint64(page); got != want {
			t.Errorf("%v: offset %#x, want %#x", &fault, got, want)
		}
	}
}

func TestColdFileMapping(t *testing.T) {
	onQuietThread(t)
	const pages = 100
	f := fileOf(t, pages)
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	testCold(t, f, pages)
}

// testCold drops a file from the page cache and reads it with a gap between
// pages: what has to be read from the disk is a major fault.
func testCold(t *testing.T, f *os.File, pages int) {
	t.Helper()
	b, err := unix.Mmap(int(f.Fd()), 0, pages*page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	m := memory(b)
	if err := errors.Join(unix.Madvise(b, unix.MADV_RANDOM), unix.Madvise(b, unix.MADV_DONTNEED),
		unix.Fadvise(int(f.Fd()), 0, int64(len(b)), unix.FADV_DONTNEED)); err != nil {
		t.Fatal(err)
	}
	for n := range pages {
		if isCached(t, m, n) {
			t.Skipf("page %d of %s stays in memory: its filesystem has no disk", n, f.Name())
		}
	}
	w := watchTest(t, Thread(0), Options{})
	_, want := readMissing(t, w, m, true)
	if want < pages/2 {
		t.Errorf("only %d faults in %d pages", want, pages)
	}
}

// isCached reports whether page n of m is in the page cache.
func isCached(t *testing.T, m memory, n int) bool {
	t.Helper()
	var state [1]byte
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(at(m, n)), uintptr(page), uintptr(unsafe.Pointer(&state[0]))); errno != 0 {
		t.Fatal(errno)
	}
	return state[0]&1 != 0
}

// readMissing reads all of m and compares the faults with the pages that the page
// table did not have.
func readMissing(t *testing.T, w *Watcher, m memory, wantMajor bool) ([]Fault, int) {
	t.Helper()
	table, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var want []uint64
	for n := range m.pages() {
		if !isMapped(t, table, m.address(n)) {
			want = append(want, m.address(n))
		}
		_ = m.read(n)
	}
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, wantMajor, want)
	if len(want) == 0 {
		t.Error("all pages were mapped beforehand")
	}
	return faults, len(want)
}

// isMapped looks a page up in the page table (Documentation/admin-guide/mm/pagemap.rst).
func isMapped(t *testing.T, table *os.File, address uint64) bool {
	t.Helper()
	var entry [8]byte
	if _, err := table.ReadAt(entry[:], int64(address/uint64(page)*8)); err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(entry[:])>>63 == 1
}

// fileOf makes a file of so many pages, all in the page cache.
func fileOf(t *testing.T, pages int) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "a file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(make([]byte, pages*page)); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestCopyOnWrite(t *testing.T) {
	onThread(t)
	const pages = 30
	b, err := unix.Mmap(int(fileOf(t, pages).Fd()), 0, pages*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	m := memory(b)
	for n := range m.pages() {
		_ = m.read(n) // the file's page, not the zero page, which not all kernels have: a write has to copy it
	}
	w := watchTest(t, Thread(0), Options{})
	for n := range m.pages() {
		m.write(n)
	}
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, false, m.addresses())
}

func TestHugePage(t *testing.T) {
	onThread(t)
	const huge = 2 << 20
	b, err := unix.Mmap(-1, 0, 3*huge, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(b)
	if err := unix.Madvise(b, unix.MADV_HUGEPAGE); err != nil {
		t.Skip("no huge pages: ", err)
	}
	start := (huge - int(memory(b).start()%huge)) % huge
	m := memory(b[start : start+huge])
	w := watchTest(t, Thread(0), Options{Ranges: []Range{m.span()}})
	for n := range m.pages() {
		m.write(n)
	}
	faults, _ := stopAndRead(t, w)
	// One for all if the kernel had a huge page to give, else one for each page.
	if len(faults) != 1 && len(faults) != m.pages() || faults[0].Address != m.address(0) {
		t.Errorf("%d faults in a huge page, first %v", len(faults), faults)
	}
	t.Logf("%d faults in %d pages", len(faults), m.pages())
}

func TestRanges(t *testing.T) {
	onThread(t)
	m := mapPages(t, 10)
	w := watchTest(t, Thread(0), Options{Ranges: []Range{{m.address(2), m.address(2) + 1}, {m.address(5), m.address(7)}}})
	for n := range m.pages() {
		m.write(n)
	}
	faults, c := stopAndRead(t, w)
	wantFaults(t, faults, m, false, []uint64{m.address(2), m.address(5), m.address(6)})
	if c.Filtered < 7 {
		t.Errorf("%d filtered, want 7 at least", c.Filtered)
	}
}

func TestOnce(t *testing.T) {
	onThread(t)
	m := mapPages(t, 10)
	w := watchTest(t, Thread(0), Options{Once: true, Ranges: []Range{m.span()}})
	for n := range m.pages() {
		m.write(n)
	}
	faults, _ := readAll(t, w)
	wantFaults(t, faults, m, false, []uint64{m.address(0)})
}

func TestMaxPerSecond(t *testing.T) {
	onThread(t)
	m := mapPages(t, 50)
	w := watchTest(t, Thread(0), Options{MaxPerSecond: 7, Ranges: []Range{m.span()}})
	for n := range m.pages() {
		m.write(n)
	}
	faults, c := stopAndRead(t, w)
	wantFaults(t, faults, m, false, m.addresses()[:7])
	if c.Suppressed != 43 {
		t.Errorf("%d suppressed, want 43", c.Suppressed)
	}
}

func TestPause(t *testing.T) {
	onThread(t)
	m := mapPages(t, 9)
	w := watchTest(t, Thread(0), Options{Paused: true})
	m.write(0)
	for n := 1; n < 9; n += 2 {
		if err := w.Resume(); err != nil {
			t.Fatal(err)
		}
		m.write(n)
		if err := w.Pause(); err != nil {
			t.Fatal(err)
		}
		m.write(n + 1)
	}
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, false, []uint64{m.address(1), m.address(3), m.address(5), m.address(7)})
	if err := w.Resume(); !errors.Is(err, ErrClosed) {
		t.Errorf("resuming after the end: %v", err)
	}
}

func TestMajorOnlyLeavesOutMinor(t *testing.T) {
	onThread(t)
	m := mapPages(t, 20)
	w := watchTest(t, Thread(0), Options{MajorOnly: true})
	for n := range m.pages() {
		m.write(n)
	}
	faults, c := stopAndRead(t, w)
	wantFaults(t, faults, m, true, nil)
	if c.Minor != 0 {
		t.Errorf("counted %d minor faults", c.Minor)
	}
}

func TestDurations(t *testing.T) {
	onThread(t)
	m := mapPages(t, 20)
	w := watchTest(t, Thread(0), Options{Durations: true})
	for n := range m.pages() {
		m.write(n)
	}
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, false, m.addresses())
	for _, f := range faults {
		if f.Duration <= 0 || f.Duration > 10*time.Second {
			t.Errorf("%v took %v", &f, f.Duration)
		}
	}
}

func TestStack(t *testing.T) {
	onThread(t)
	m := mapPages(t, 1)
	w := watchTest(t, Thread(0), Options{Stack: true, Ranges: []Range{m.span()}})
	writeFrom(m)
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, false, m.addresses())
	var names []string
	for _, frame := range faults[0].Stack {
		names = append(names, functionAt(frame.IP))
	}
	all := strings.Join(names, " ")
	if faults[0].Stack[0].IP != faults[0].IP || faults[0].Stack[0].Code != faults[0].Code || !strings.HasSuffix(names[0], "write") || !strings.Contains(all, "TestStack") {
		t.Errorf("stack %v", names)
	}
}

//go:noinline
func writeFrom(m memory) { m.write(0) }

// Stacks of threads have no name; they are told by the stack pointer.
func TestStackGrowth(t *testing.T) {
	onThread(t)
	debug.FreeOSMemory() // or the runtime gives it memory that was used before
	w := watchTest(t, Thread(0), Options{ThreadStacks: true})
	deep(3000)
	faults, _ := stopAndRead(t, w)
	stack := 0
	for _, f := range faults {
		if f.Mapping.Kind == Stack {
			stack++
		}
	}
	if stackPointer != 0 && stack < 20 {
		t.Errorf("%d faults on the stack of %d", stack, len(faults))
	}
}

//go:noinline
func deep(n int) int {
	var frame [1000]byte
	frame[n%1000] = byte(n)
	if n == 0 {
		return 0
	}
	return deep(n-1) + int(frame[(n+1)%1000])
}

func TestThreadsCreatedLater(t *testing.T) {
	const workers, pages = 8, 25
	m := mapPages(t, workers*pages)
	w := watchTest(t, Process(0), Options{Ranges: []Range{m.span()}})
	var done sync.WaitGroup
	for i := range workers {
		done.Go(func() {
			runtime.LockOSThread() // never unlocked: a thread of its own that ends
			for n := range pages {
				m.write(i*pages + n)
			}
		})
	}
	done.Wait()
	faults, c := stopAndRead(t, w)
	seen := map[uint64]int{}
	tids := map[int]bool{}
	for _, f := range faults {
		seen[f.Address]++
		tids[f.TID] = true
	}
	for _, a := range m.addresses() {
		if seen[a] != 1 {
			t.Errorf("%d faults at %#x", seen[a], a)
		}
	}
	if len(faults) != workers*pages || len(tids) < 2 || c.Lost > 0 {
		t.Errorf("%d faults of %d threads, counts %+v", len(faults), len(tids), c)
	}
}

// A thread that inherited nothing is found later. Here the event is taken from it.
func TestMissedThread(t *testing.T) {
	tid, go1, done := make(chan int), make(chan bool), make(chan bool)
	m := mapPages(t, 1)
	go func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		<-go1
		m.write(0)
		done <- true
	}()
	missed := <-tid
	w, err := watch(Process(0), Options{Ranges: []Range{m.span()}},
		func(attr *unix.PerfEventAttr, tid, cpu, groupFD, flags int) (int, error) {
			if tid == missed {
				missed = 0 // only the first time
				return -1, unix.ESRCH
			}
			return unix.PerfEventOpen(attr, tid, cpu, groupFD, flags)
		})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	got := make(chan Fault)
	go func() {
		f, _ := w.Read()
		got <- f
	}()
	time.Sleep(3 * adoptInterval)
	close(go1)
	<-done
	if f := <-got; f.Address != m.address(0) {
		t.Errorf("%v", &f)
	}
}

// Threads come while Watch attaches: no fault is reported twice, and what the
// kernel counted twice is not counted.
func TestThreadsCreatedMeanwhile(t *testing.T) {
	end := make(chan struct{})
	var running sync.WaitGroup
	for range 2 {
		running.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				var one sync.WaitGroup
				one.Go(func() { runtime.LockOSThread(); time.Sleep(time.Millisecond) })
				one.Wait()
			}
		})
	}
	found := 0
	for range 20 {
		m := mapPages(t, 40)
		w := watchTest(t, Process(0), Options{Ranges: []Range{m.span()}})
		var touch sync.WaitGroup
		for i := range 4 {
			touch.Go(func() {
				runtime.LockOSThread()
				for n := range 10 {
					m.write(i*10 + n)
				}
			})
		}
		touch.Wait()
		faults, c := stopAndRead(t, w)
		seen := map[uint64]bool{}
		for _, f := range faults {
			if seen[f.Address] {
				t.Errorf("%v: once more", &f)
			}
			seen[f.Address] = true
		}
		if c.Lost > 0 {
			t.Errorf("counts %+v", c)
		}
		found += len(faults)
		w.Close()
	}
	close(end)
	running.Wait()
	// A thread can be missed whose creator was attached to while it created.
	t.Logf("%d of %d faults found", found, 20*40)
}

// More faults than the buffer holds before it is read: what is missing is counted.
func TestLost(t *testing.T) {
	onThread(t)
	const pages = 100_000
	m := mapPages(t, pages)
	w := watchTest(t, Thread(0), Options{Buffer: page})
	begin := time.Now()
	for n := range m.pages() {
		m.write(n)
	}
	rate := float64(pages) / time.Since(begin).Seconds()
	faults, c := stopAndRead(t, w)
	in := uint64(0)
	for _, f := range faults {
		if m.span().contains(f.Address) {
			in++
		}
	}
	if c.Lost == 0 || c.Total() < pages || in+c.Lost < pages || in+c.Lost > pages+(c.Total()-pages) {
		t.Errorf("%d reported, counts %+v, want %d together", in, c, pages)
	}
	t.Logf("%.0f faults/s: %d reported, %d lost", rate, c.Reported, c.Lost)
}

// 100,000 faults per second arrive with the buffer of the default size.
func TestManyFaults(t *testing.T) {
	onThread(t)
	const pages = 100_000
	m := mapPages(t, pages)
	w := watchTest(t, Thread(0), Options{})
	result := make(chan int)
	go func() {
		in := make(map[uint64]bool)
		for {
			f, err := w.Read()
			if err != nil {
				result <- len(in)
				return
			}
			if m.span().contains(f.Address) {
				in[f.Address] = true
			}
		}
	}()
	begin := time.Now()
	for n := range m.pages() {
		m.write(n)
		if n%1000 == 999 {
			time.Sleep(time.Until(begin.Add(time.Duration(n) * 10 * time.Microsecond)))
		}
	}
	rate := float64(pages) / time.Since(begin).Seconds()
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	in := <-result
	c, err := w.Counts()
	if err != nil {
		t.Fatal(err)
	}
	// The buffer holds some 8,000: more have come only if it was emptied meanwhile.
	if c.Total() != c.Reported+c.Lost || uint64(in)+c.Lost < pages || in < pages/5 {
		t.Errorf("%d of %d reported, counts %+v", in, pages, c)
	}
	t.Logf("%.0f faults/s: %d reported, %d lost", rate, c.Reported, c.Lost)
}

func TestMappingsThatChange(t *testing.T) {
	onThread(t)
	w := watchTest(t, Thread(0), Options{})
	m := mapPages(t, 4)
	m.write(0)
	f := fileOf(t, 1)
	if _, err := unix.MmapPtr(int(f.Fd()), 0, at(m, 1), uintptr(page), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_FIXED); err != nil {
		t.Fatal(err)
	}
	m.write(1)
	m.write(2)
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, false, []uint64{m.address(0), m.address(1), m.address(2)})
	for _, fault := range faults {
		want := Anonymous
		if fault.Address == m.address(1) {
			want = File
		}
		if m.span().contains(fault.Address) && fault.Mapping.Kind != want {
			t.Errorf("%v: want %s", &fault, want)
		}
	}
}

func TestMarks(t *testing.T) {
	onThread(t)
	m := mapPages(t, 3)
	w := watchTest(t, Process(0), Options{Ranges: []Range{m.span()}})
	m.write(0)
	if err := ExpectNone(); err != nil {
		t.Fatal(err)
	}
	m.write(1)
	if err := ExpectSome(); err != nil {
		t.Fatal(err)
	}
	m.write(2)
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, false, m.addresses())
	for i, f := range faults {
		if f.Marked != (i == 1) {
			t.Errorf("fault %d: marked %v", i, f.Marked)
		}
	}
}

func TestCount(t *testing.T) {
	onThread(t)
	m := mapPages(t, 50)
	c, err := Count(Thread(0), Options{Paused: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m.write(0)
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	for n := range m.pages() {
		m.write(n)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	got, err := c.Counts()
	if err != nil {
		t.Fatal(err)
	}
	if got.Minor != 49 || got.Major != 0 {
		t.Errorf("counted %+v, want 49 minor", got)
	}
}

func TestReadAfterClose(t *testing.T) {
	w := watchTest(t, Process(0), Options{Paused: true})
	got := make(chan error)
	go func() {
		_, err := w.Read()
		got <- err
	}()
	time.Sleep(3 * interval)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("reading: %v", err)
	}
	if err := w.Pause(); !errors.Is(err, ErrClosed) {
		t.Errorf("pausing: %v", err)
	}
}

func TestThreadThatEnds(t *testing.T) {
	tid := make(chan int)
	end := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		tid <- unix.Gettid()
		<-end
	}()
	w := watchTest(t, Thread(<-tid), Options{})
	close(end)
	for {
		if _, err := w.Read(); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			return
		}
	}
}
