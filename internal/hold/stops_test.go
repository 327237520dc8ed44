// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/emulator"
	"github.com/taskiso/taskiso/internal/proc"
)

// No stop is taken back by the pair of signals that a thread at a hook sends itself. A program has a thread send itself that
// all the time, and is stopped: as a process, that thread alone, and another one alone.
func TestStopsAreNotTakenBack(t *testing.T) { testStops(t, 1000) }

func TestGuestStopsAreNotTakenBack(t *testing.T) { testStops(t, 100) }

// enough is how many pairs a program sends after a stop until that is taken for lost: seconds.
const enough = 1 << 18

func testStops(t *testing.T, stops int) {
	p := beginLooking(t, "pairs", loadLook(t))
	for n := range stops {
		begun := p.waitForPairs(t, 1)
		target := 0
		switch n % 3 {
		case 1:
			target = int(p.shared.looker.Load())
		case 2:
			target = p.pid()
		}
		if err := signalTo(p.pid(), target, unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for !p.changed(t, unix.WUNTRACED) {
			if p.shared.pairs.Load()-begun > enough {
				t.Fatalf("stop %d (to %d of process %d) is lost", n, target, p.pid())
			}
			emulator.Yield()
		}
		if err := unix.Kill(p.pid(), unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for !p.changed(t, unix.WCONTINUED) {
			emulator.Yield()
		}
	}
	t.Logf("%d stops during %d pairs", stops, p.shared.pairs.Load())
}

// A stop signal that has a handler comes to that, once.
func TestHandledStopsAreNotTakenBack(t *testing.T) { testHandledStops(t, 1000) }

func TestGuestHandledStopsAreNotTakenBack(t *testing.T) { testHandledStops(t, 100) }

func testHandledStops(t *testing.T, stops int) {
	p := beginLooking(t, "handled-pairs", loadLook(t))
	for n := range stops {
		begun := p.waitForPairs(t, 1)
		if err := unix.Kill(p.pid(), unix.SIGTSTP); err != nil {
			t.Fatal(err)
		}
		for p.shared.handled.Load() <= int64(n) {
			if p.shared.pairs.Load()-begun > enough {
				t.Fatalf("signal %d is lost", n)
			}
			emulator.Yield()
		}
	}
	p.waitForPairs(t, 100)
	if n := p.shared.handled.Load(); n != int64(stops) {
		t.Errorf("%d signals were handled %d times", stops, n)
	}
	t.Logf("%d signals during %d pairs", stops, p.shared.pairs.Load())
}

// While a stop signal waits in the process, the pair is not sent; if it must be, the signal waits on.
func TestPairBesidePendingStop(t *testing.T) { testPending(t) }

func TestGuestPairBesidePendingStop(t *testing.T) { testPending(t) }

func testPending(t *testing.T) {
	runtime.LockOSThread() // its program inherits the mask
	defer runtime.UnlockOSThread()
	var terminal, before unix.Sigset_t
	terminal.Val[0] = bit(unix.SIGTSTP)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &terminal, &before); err != nil {
		t.Fatal(err)
	}
	p := beginLooking(t, "pending", loadLook(t))
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil); err != nil {
		t.Fatal(err)
	}
	if out := p.ends(); out != "done" {
		t.Error(out)
	}
}

// loadLook loads the program that has its caller send itself the pair, and the one at the tracepoint.
func loadLook(t *testing.T) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	if err := rlimit.RemoveMemlock(); err != nil {
		t.Fatal(err)
	}
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	if err := spec.Variables[bpfVarSupervisor].Set(uint32(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	var loaded struct {
		Attend         *ebpf.Program `ebpf:"attend"`
		Look           *ebpf.Program `ebpf:"look"`
		SignalGenerate *ebpf.Program `ebpf:"signal_generate"`
	}
	if err := spec.LoadAndAssign(&loaded, nil); err != nil {
		t.Fatalf("loading the programs: %+v", err)
	}
	defer loaded.Attend.Close()
	t.Cleanup(func() { loaded.Look.Close(); loaded.SignalGenerate.Close() })
	known, err := loaded.Attend.Run(&ebpf.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if known == 0 {
		t.Skip("in a PID namespace, where nothing is held")
	}
	l, err := attach(loaded.SignalGenerate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	fd, err := unix.Dup(loaded.Look.FD())
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "look")
}

// looking is a program that sends itself the pair.
type looking struct {
	*process
	shared *sharedCounts
}

type sharedCounts struct{ pairs, handled, looker atomic.Int64 }

func beginLooking(t *testing.T, job string, look *os.File) *looking {
	t.Helper()
	fd, err := unix.MemfdCreate("counts", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memory := os.NewFile(uintptr(fd), "counts")
	if err := memory.Truncate(int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	p := &looking{process: &process{t: t, cmd: command(job), done: make(chan error, 1)}, shared: mapCounts(t.Fatal, fd)}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	p.cmd.ExtraFiles = []*os.File{look, memory}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	look.Close()
	memory.Close()
	if job == "pending" {
		go func() { p.done <- p.cmd.Wait() }()
		return p
	}
	t.Cleanup(func() { p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

func mapCounts(fail func(...any), fd int) *sharedCounts {
	memory, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		fail(err)
	}
	return (*sharedCounts)(unsafe.Pointer(&memory[0]))
}

func (p *looking) pid() int { return p.cmd.Process.Pid }

// waitForPairs waits for some more pairs, and returns how many there have been.
func (p *looking) waitForPairs(t *testing.T, more int64) int64 {
	t.Helper()
	before := p.shared.pairs.Load()
	for p.shared.pairs.Load() < before+more {
		var info unix.Siginfo
		if err := unix.Waitid(unix.P_PID, p.pid(), &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil); err != nil || info.Signo != 0 {
			t.Fatalf("the program ended (%v): %s", err, p.out.String())
		}
		emulator.Yield()
	}
	return p.shared.pairs.Load()
}

// changed reports whether the program was stopped, or continued, since it was asked last.
func (p *looking) changed(t *testing.T, option int) bool {
	t.Helper()
	var ws unix.WaitStatus
	n, err := unix.Wait4(p.pid(), &ws, option|unix.WNOHANG, nil)
	if err != nil && err != unix.EINTR {
		t.Fatal(err)
	}
	if n > 0 && !ws.Stopped() && !ws.Continued() {
		t.Fatalf("the program ended: %v", ws)
	}
	return n > 0
}

// signalTo sends a signal to a process, or to a thread of it alone.
func signalTo(pid, tid int, s unix.Signal) error {
	if tid == 0 {
		return unix.Kill(pid, s)
	}
	return unix.Tgkill(pid, tid, s)
}

// The rest is of the program. It has the BPF program and the memory of beginLooking.
const lookFD, countsFD = 3, 4

// sendPair reports whether this thread sent itself the pair.
func sendPair(look *ebpf.Program, must bool) (bool, error) {
	c := bpfLookContext{}
	if must {
		c.Must = 1
	}
	sent, err := look.Run(&ebpf.RunOptions{Context: c})
	return sent != 0, err
}

func sendPairs() error {
	runtime.LockOSThread()
	look, err := ebpf.NewProgramFromFD(lookFD)
	if err != nil {
		return err
	}
	counts := mapCounts(func(a ...any) { panic(a) }, countsFD)
	counts.looker.Store(int64(unix.Gettid()))
	for {
		sent, err := sendPair(look, false)
		if err != nil {
			return err
		}
		if sent {
			counts.pairs.Add(1)
		}
		emulator.Yield()
	}
}

func sendHandledPairs() error {
	counts := mapCounts(func(a ...any) { panic(a) }, countsFD)
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTSTP)
	go func() {
		for range signals {
			counts.handled.Add(1)
		}
	}()
	return sendPairs()
}

// pendingStops sends itself the pair while a stop signal, which every thread blocks, waits in this process.
func pendingStops() error {
	runtime.LockOSThread()
	look, err := ebpf.NewProgramFromFD(lookFD)
	if err != nil {
		return err
	}
	self, other := unix.Gettid(), 0
	started := make(chan bool)
	go func() {
		runtime.LockOSThread()
		other = unix.Gettid()
		started <- true
		select {}
	}()
	<-started
	var errs []string
	expect := func(what string, target int, must, sent bool, where ...string) {
		if err := signalTo(os.Getpid(), target, unix.SIGTSTP); err != nil {
			errs = append(errs, err.Error())
		}
		if got, err := sendPair(look, must); err != nil || got != sent {
			errs = append(errs, fmt.Sprintf("%s: sent %v (%v), want %v", what, got, err, sent))
		}
		if got := pendingIn(self, other); got != strings.Join(where, " ") {
			errs = append(errs, fmt.Sprintf("%s: pending for %q, want %q", what, got, where))
		}
		if err := unix.Kill(os.Getpid(), unix.SIGCONT); err != nil { // takes back what is pending
			errs = append(errs, err.Error())
		}
	}
	expect("for the process", 0, false, false, "process")
	expect("for the thread", self, false, false, "self")
	expect("for another thread", other, false, false, "other")
	expect("for the process, and it must", 0, true, true, "process")
	expect("for the thread, and it must", self, true, true, "self")
	expect("for another thread, and it must", other, true, true, "process") // no program can send it to that thread
	if sent, err := sendPair(look, false); err != nil || !sent {
		errs = append(errs, fmt.Sprintf("without one: sent %v (%v)", sent, err))
	}
	if len(errs) > 0 {
		return fmt.Errorf("%s", strings.Join(errs, "; "))
	}
	return nil
}

// pendingIn names where SIGTSTP is pending.
func pendingIn(self, other int) string {
	var in []string
	for _, p := range []struct {
		name, set string
		tid       int
	}{{"process", "ShdPnd", self}, {"self", "SigPnd", self}, {"other", "SigPnd", other}} {
		status, err := proc.ReadStatus(os.DirFS("/"), proc.Thread(os.Getpid(), p.tid))
		if err != nil {
			in = append(in, err.Error())
		} else if signalsOf(status, p.set)&bit(unix.SIGTSTP) != 0 {
			in = append(in, p.name)
		}
	}
	return strings.Join(in, " ")
}
