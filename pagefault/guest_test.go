// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/vmtest"
)

func TestGuestHeader(t *testing.T) { runHeaderTests(t, compiled) }

// disk returns a disk in memory: module brd, which the kernels of Debian have.
func disk(t *testing.T, number string) *os.File {
	t.Helper()
	path := "/dev/ram" + number
	if _, err := os.Stat(path); err != nil {
		if err := vmtest.LoadModule("brd", "rd_nr=4 rd_size=65536"); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestGuestColdFile(t *testing.T) {
	onQuietThread(t)
	f := disk(t, "0")
	const pages = 100
	if _, err := f.Write(make([]byte, pages*page)); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	testCold(t, f, pages)
}

// makeSwap writes the header that swapon wants (union swap_header in
// include/linux/swap.h) for so many pages.
func makeSwap(t *testing.T, f *os.File, pages int) {
	t.Helper()
	header := make([]byte, page)
	binary.NativeEndian.PutUint32(header[1024:], 1) // version
	binary.NativeEndian.PutUint32(header[1028:], uint32(pages-1))
	copy(header[page-10:], "SWAPSPACE2")
	if _, err := f.WriteAt(header, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

func swapOn(t *testing.T, f *os.File) {
	t.Helper()
	path, err := unix.BytePtrFromString(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, errno := unix.Syscall(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0, 0); errno != 0 {
		t.Fatalf("swapping on %s: %v", f.Name(), errno)
	}
	t.Cleanup(func() { unix.Syscall(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(path)), 0, 0) })
}

// Pages that were written to swap come back with a major fault each, as far as
// the kernel does not read several at a time; page-cluster 0 keeps it from that.
func TestGuestSwappedOut(t *testing.T) {
	onQuietThread(t)
	f := disk(t, "1")
	makeSwap(t, f, 16384)
	swapOn(t, f)
	if err := os.WriteFile("/proc/sys/vm/page-cluster", []byte("0"), 0); err != nil {
		t.Fatal(err)
	}
	m := mapPages(t, 200)
	for n := range m.pages() {
		m.write(n)
	}
	if err := unix.Madvise(m, unix.MADV_PAGEOUT); err != nil {
		t.Fatal(err)
	}
	table, err := os.Open("/proc/self/pagemap")
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	w := watchTest(t, Thread(0), Options{Durations: true})
	var missing, swapped []uint64
	for n := range m.pages() {
		switch in, out := isMapped(t, table, m.address(n)), isSwapped(t, table, m.address(n)); {
		case out:
			swapped = append(swapped, m.address(n))
			fallthrough
		case !in:
			missing = append(missing, m.address(n))
		}
		m.write(n)
	}
	faults, _ := stopAndRead(t, w)
	if len(swapped) < 100 {
		t.Fatalf("only %d of %d pages are in swap", len(swapped), m.pages())
	}
	var got []uint64
	majors := 0
	for _, f := range faults {
		if m.span().contains(f.Address) {
			got = append(got, f.Address)
			if f.Major {
				majors++
			}
			if f.Duration <= 0 {
				t.Errorf("%v: duration %v", &f, f.Duration)
			}
		}
	}
	if len(got) != len(missing) {
		t.Fatalf("%d faults, want %d", len(got), len(missing))
	}
	for i := range got {
		if got[i] != missing[i] {
			t.Errorf("fault %d at %#x, want %#x", i, got[i], missing[i])
		}
	}
	// What is still in the swap cache is mapped again without reading.
	if majors == 0 {
		t.Error("no fault was major")
	}
	t.Logf("%d pages in swap, %d faults, %d of them major", len(swapped), len(got), majors)
}

func isSwapped(t *testing.T, table *os.File, address uint64) bool {
	t.Helper()
	var entry [8]byte
	if _, err := table.ReadAt(entry[:], int64(address/uint64(page)*8)); err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(entry[:])>>62&1 == 1
}

// A handler of its own provides pages. The kernel waits for it, and takes that for
// major where it has no locks per mapping: with one it waits under that and begins
// anew afterwards. The time says that it waited.
func TestUserfaultfd(t *testing.T) {
	onQuietThread(t)
	m := mapPages(t, 20)
	fd := userfaultfd(t, m)
	go provide(fd)
	w := watchTest(t, Thread(0), Options{Durations: true, Ranges: []Range{m.span()}})
	for n := range m.pages() {
		_ = m.read(n)
	}
	faults, _ := stopAndRead(t, w)
	if len(faults) == 0 {
		t.Fatal("no faults")
	}
	wantFaults(t, faults, m, faults[0].Major, m.addresses())
	t.Logf("%v took %v", &faults[0], faults[0].Duration)
}

// ioctls of userfaultfd(2), include/uapi/linux/userfaultfd.h.
const (
	uffdioAPI      = 0xc018aa3f
	uffdioRegister = 0xc020aa00
	uffdioZeropage = 0xc020aa04
)

func userfaultfd(t *testing.T, m memory) int {
	t.Helper()
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno == unix.EPERM || errno == unix.ENOSYS {
		t.Skip("opening a userfaultfd: ", errno)
	}
	if errno != 0 {
		t.Fatal("opening a userfaultfd: ", errno)
	}
	t.Cleanup(func() { unix.Close(int(fd)) })
	api := [3]uint64{0xaa, 0, 0}
	if err := ioctl(int(fd), uffdioAPI, unsafe.Pointer(&api)); err != nil {
		t.Fatal(err)
	}
	register := [4]uint64{m.start(), uint64(len(m)), 1 /* missing pages */, 0}
	if err := ioctl(int(fd), uffdioRegister, unsafe.Pointer(&register)); err != nil {
		t.Fatal(err)
	}
	return int(fd)
}

func ioctl(fd int, request uint, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(arg)); errno != 0 {
		return os.NewSyscallError("ioctl", errno)
	}
	return nil
}

// provide fills in zero pages until the descriptor is closed.
func provide(fd int) {
	var message [32]byte
	for {
		if n, err := unix.Read(fd, message[:]); n != len(message) || err != nil {
			return
		}
		address := binary.NativeEndian.Uint64(message[16:]) &^ uint64(page-1)
		zero := [4]uint64{address, uint64(page), 0, 0}
		if err := ioctl(fd, uffdioZeropage, unsafe.Pointer(&zero)); err != nil {
			return
		}
	}
}

// Many threads: each needs descriptors, and each fault still has its thread.
func TestGuestManyThreads(t *testing.T) {
	const threads = 1000
	limit := unix.Rlimit{Cur: 20_000, Max: 20_000}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	m := mapPages(t, threads)
	started, begin, done := make(chan bool), make(chan bool), make(chan bool)
	for n := range threads {
		go func() {
			runtime.LockOSThread() // and ends with the goroutine
			started <- true
			<-begin
			m.write(n)
			done <- true
		}()
	}
	for range threads {
		<-started
	}
	w := watchTest(t, Process(0), Options{Ranges: []Range{m.span()}})
	close(begin)
	for range threads {
		<-done
	}
	faults, c := stopAndRead(t, w)
	tids := map[int]bool{}
	for _, f := range faults {
		tids[f.TID] = true
	}
	if len(faults) != threads || len(tids) != threads || c.Lost > 0 {
		t.Errorf("%d faults of %d threads, want %d; counts %+v", len(faults), len(tids), threads, c)
	}
}

// With the setting that Debian has by default, others than root are told of it.
func TestGuestParanoid(t *testing.T) {
	const path = "/proc/sys/kernel/perf_event_paranoid"
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(path, before, 0)
	for level, allowed := range map[string]bool{"3": false, "2": true, "1": true} {
		if err := os.WriteFile(path, []byte(level), 0); err != nil {
			t.Fatal(err)
		}
		asNobody(t, func() {
			w, err := Watch(Thread(0), Options{})
			if err == nil {
				w.Close()
			}
			if allowed != (err == nil) {
				t.Errorf("level %s: %v", level, err)
			}
			if err != nil && (!errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), "perf_event_paranoid is "+level)) {
				t.Errorf("level %s: %v", level, err)
			}
		})
	}
}
