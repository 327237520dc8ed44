// SPDX-License-Identifier: Apache-2.0

package pagefault

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const noPID = 1 << 22 // above the largest that the kernel gives out (PID_MAX_LIMIT)

func TestNoSuchTarget(t *testing.T) {
	for _, target := range []Target{Process(noPID), Thread(noPID)} {
		if _, err := Watch(target, Options{}); !errors.Is(err, ErrNoTarget) || !strings.Contains(err.Error(), "4194304") {
			t.Errorf("watching %v: %v", target, err)
		}
		if _, err := Count(target, Options{}); !errors.Is(err, ErrNoTarget) {
			t.Errorf("counting %v: %v", target, err)
		}
	}
	if _, err := NotifyOn(noPID, unix.SIGUSR1, NotifyOptions{}); !errors.Is(err, ErrNoTarget) {
		t.Errorf("notifying: %v", err)
	}
}

func TestEmptyRange(t *testing.T) {
	for _, r := range []Range{{}, {0x1000, 0x1000}, {0x2000, 0x1000}} {
		if _, err := Watch(Process(0), Options{Ranges: []Range{r}}); !errors.Is(err, ErrEmptyRange) {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestNegativeOptions(t *testing.T) {
	for _, o := range []Options{{Buffer: -1}, {MaxPerSecond: -1}} {
		if _, err := Watch(Process(0), o); !errors.Is(err, errNegative) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestFileLimit(t *testing.T) {
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	free, err := unix.Dup(0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(free)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free + 7), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	_, err = Watch(Process(0), Options{})
	unix.Setrlimit(unix.RLIMIT_NOFILE, &before)
	if !errors.Is(err, ErrTooManyFiles) || !strings.Contains(err.Error(), "ulimit -n") || strings.Contains(err.Error(), " 0 threads") {
		t.Errorf("watching: %v", err)
	}
	if next, err := unix.Dup(0); err != nil || next > free {
		t.Errorf("descriptor %d is free, was %d before: not all were closed", next, free)
	} else {
		unix.Close(next)
	}
}

// withKernel is an opener of a kernel that knows less than this one.
func withKernel(unknown uint64) opener {
	return func(attr *unix.PerfEventAttr, tid, cpu, groupFD, flags int) (int, error) {
		if attr.Bits&unknown != 0 {
			return -1, unix.EINVAL
		}
		return unix.PerfEventOpen(attr, tid, cpu, groupFD, flags)
	}
}

// Linux before 5.13 does not know inherit_thread: records work all the same.
func TestKernelWithoutInheritThread(t *testing.T) {
	onThread(t)
	m := mapPages(t, 5)
	w, err := watch(Process(0), Options{Ranges: []Range{m.span()}}, withKernel(bitInheritThread))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for n := range m.pages() {
		m.write(n)
	}
	faults, _ := stopAndRead(t, w)
	wantFaults(t, faults, m, false, m.addresses())
}

func TestKernelWithoutPerf(t *testing.T) {
	_, err := watch(Process(0), Options{}, func(*unix.PerfEventAttr, int, int, int, int) (int, error) { return -1, unix.ENOSYS })
	if !errors.Is(err, ErrNotSupported) {
		t.Error(err)
	}
}

// asNobody runs f in a thread without privileges, which is not used afterwards.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become somebody else")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		const nobody = 65534
		// The system call itself: the library's function changes all threads.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, nobody, nobody, nobody); errno != 0 {
			t.Error("becoming nobody: ", errno)
			return
		}
		f()
	}()
	<-done
}

func TestUnprivileged(t *testing.T) {
	level, err := paranoid()
	if err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		m := mapPages(t, 3)
		w, err := Watch(Thread(0), Options{})
		if level > 2 {
			if !errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), "perf_event_paranoid") {
				t.Errorf("paranoid %d: %v", level, err)
			}
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		defer w.Close()
		for n := range m.pages() {
			m.write(n)
		}
		faults, _ := stopAndRead(t, w)
		wantFaults(t, faults, m, false, m.addresses())
	})
}

func TestUnprivilegedErrors(t *testing.T) {
	level, err := paranoid()
	if err != nil {
		t.Fatal(err)
	}
	asNobody(t, func() {
		_, err := Watch(Process(1), Options{})
		if !errors.Is(err, ErrNotPermitted) {
			t.Errorf("watching process 1: %v", err)
		} else if level <= 2 && !strings.Contains(err.Error(), "belongs to user 0") {
			t.Errorf("watching process 1: %v", err)
		}
		_, err = Watch(Thread(0), Options{KernelMode: true})
		if level > 1 && (!errors.Is(err, ErrNotPermitted) || !strings.Contains(err.Error(), "perf_event_paranoid")) {
			t.Errorf("watching kernel mode: %v", err)
		}
	})
}
