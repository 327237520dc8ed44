// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/clock"
)

// A program does not see that it is held: neither its handler for SIGCONT runs because of
// that, nor is who watches its system calls by a seccomp filter asked twice for one. On a kernel
// that does not preempt itself the keeper may get no CPU in time: that is counted each time,
// and it gets one another time.
func TestGuestNotSeen(t *testing.T) {
	for _, tc := range []struct{ name, job, out string }{
		{"handler of SIGCONT", "continued", "done after 0 signals"},
		{"agent of a seccomp filter", "agent", "done after 1 notifications"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := keep(t, Config{})
			p := k.heldUnseen(t, tc.job)
			time.Sleep(500 * time.Millisecond) // long enough for a thread that comes back and back to be seen
			if out := k.endByHand(t, p); out != tc.out {
				t.Errorf("got %q, want %q", out, tc.out)
			}
		})
	}
}

// A thread that handles a signal while it is held makes its call again, so the agent of its filter is asked
// again. That is the signal's doing, and not counted. The keeper may have no CPU in time then, which is counted,
// and a second time: the operation goes on, and another is tried.
func TestGuestAgentIsAskedAfterASignal(t *testing.T) {
	k := keep(t, Config{})
	for range tries {
		if k.isHeldAfterASignal(t) {
			return
		}
	}
	t.Fatalf("in %d tries the keeper had no CPU in time", tries)
}

func (k *keeping) isHeldAfterASignal(t *testing.T) bool {
	t.Helper()
	p := k.heldUnseen(t, "agent")
	status, err := k.Status()
	if err != nil || len(status.Held) != 1 {
		t.Fatalf("status %+v (%v), want one operation that is held", status, err)
	}
	r := status.Held[0]
	tracer := tracerOf(os.DirFS("/"), r.PID, r.TID)
	if err := unix.Tgkill(r.PID, r.TID, unix.SIGURG); err != nil { // handled by Go's runtime in every program
		t.Fatal(err)
	}
	eventually(t, "another tracer that stops the thread, or its record", func() bool {
		now := tracerOf(os.DirFS("/"), r.PID, r.TID)
		return now != 0 && now != tracer && state(r.TID) == "t" || k.has(r.ID)
	})
	asked, wentOn := 2+k.seen(t)-status.Seen, k.has(r.ID)
	var out string
	if wentOn {
		k.record(t, r.ID).want(t, NotHeld, exemptions[exemptSignal])
		out = p.ends()
	} else {
		out = k.endByHand(t, p)
	}
	if want := fmt.Sprintf("done after %d notifications", asked); out != want {
		t.Errorf("got %q, want %q (operations seen: %d, then %d)", out, want, status.Seen, k.seen(t))
	}
	return !wentOn
}

// A signal that does nothing by default does not have an agent asked again.
func TestGuestAgentIsNotAskedAfterASignalThatDoesNothing(t *testing.T) {
	k := keep(t, Config{})
	p := k.heldUnseen(t, "childless-agent")
	status, err := k.Status()
	if err != nil || len(status.Held) != 1 {
		t.Fatalf("status %+v (%v), want one operation that is held", status, err)
	}
	r := status.Held[0]
	if err := unix.Tgkill(r.PID, r.TID, unix.SIGCHLD); err != nil {
		t.Fatal(err)
	}
	if out, want := k.endByHand(t, p), "done after 1 notifications"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

func (k *keeping) has(id uint64) bool { return slices.ContainsFunc(k.all(), hasID(id)) }

func (k *keeping) record(t *testing.T, id uint64) Record {
	t.Helper()
	records := k.all()
	i := slices.IndexFunc(records, hasID(id))
	if i < 0 {
		t.Fatalf("no record has the ID %d: %v", id, records)
	}
	return records[i]
}

func hasID(id uint64) func(Record) bool { return func(r Record) bool { return r.ID == id } }

// tries is how often a program is begun until the keeper has a CPU in time: one time in nine on an emulated 6.1.
const tries = 100

// heldUnseen begins a program and returns it when its operation is held and it cannot know.
func (k *keeping) heldUnseen(t *testing.T, job string) *process {
	t.Helper()
	for range tries {
		seen := k.seen(t) // before its operation can come
		p := begin(t, job)
		if k.waitsUnseen(t, seen) {
			return p
		}
		k.letGo(p)
	}
	t.Fatalf("in %d tries the keeper had no CPU in time", tries)
	return nil
}

func (k *keeping) seen(t *testing.T) uint64 {
	t.Helper()
	s, err := k.Status()
	if err != nil {
		t.Fatal(err)
	}
	return s.Seen
}

// waitsUnseen waits until an operation is held, or one more than seen was visible to its program.
func (k *keeping) waitsUnseen(t *testing.T, seen uint64) bool {
	t.Helper()
	eventually(t, "an operation that waits, or is counted as seen", func() bool {
		s, err := k.Status()
		if err != nil {
			t.Fatal(err)
		}
		return s.Seen > seen || len(s.Held) == 1 && state(s.Held[0].TID) == "t"
	})
	return k.seen(t) == seen // read after it has stopped: it can be seen, and counted, until then
}

// endByHand lets the only operation go, and returns what its program printed.
func (k *keeping) endByHand(t *testing.T, p *process) string {
	t.Helper()
	before := len(k.all())
	if _, err := k.Release(All); err != nil {
		t.Error(err)
	}
	out := p.ends()
	eventually(t, "its record", func() bool { return len(k.all()) > before })
	records := k.all()
	records[len(records)-1].want(t, Held, ByHand)
	return out
}

// letGo lets a process end whose operation may be held after all, the second time it comes.
func (k *keeping) letGo(p *process) {
	for {
		select {
		case <-p.done:
			return
		case <-time.After(20 * time.Millisecond):
			_, _ = k.Release(All) // an error if nothing is held
		}
	}
}

// What cannot be stopped unseen goes on, the second time that it would be seen. That is
// one account, and the first time is counted.
func TestGuestCannotBeStopped(t *testing.T) {
	k := keep(t, Config{})
	if out, want := begin(t, "unstoppable").ends(), "done after 1 signals"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
	k.only(t).want(t, NotHeld, exemptions[exemptSignal])
	s, err := k.Status()
	if err != nil || s.Seen != 1 || len(s.Held) != 0 || s.Counts[NotHeld] != 1 || len(s.Counts) != 1 {
		t.Errorf("status %+v (%v), want one operation, not held and seen", s, err)
	}
	if limits, err := k.Limits(); err != nil || len(limits) != 1 || !strings.Contains(limits[0], "no CPU in time: 1;") {
		t.Errorf("limits %q (%v), want that one was seen", limits, err)
	}
}

// A process of one thread has nobody who would take its signals: it ends by itself, and that is seen at once.
func TestGuestEndedAlone(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGKILL} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			k := keep(t, Config{})
			p := begin(t, "alone")
			pid := k.waits(t, 1)[0].PID
			if err := unix.Kill(pid, s); err != nil {
				t.Fatal(err)
			}
			if out, want := p.ends(), s.String()+"done"; out != want {
				t.Errorf("got %q, want %q", out, want)
			}
			eventually(t, "the record", func() bool { return len(k.all()) > 0 })
			r := k.only(t)
			r.want(t, Held, ByDeath)
			status, err := k.Status()
			if err != nil || len(status.Held) != 0 || waiting(t, k) != 0 {
				t.Errorf("after its end %+v waits, and %d threads are in the map (%v)", status.Held, waiting(t, k), err)
			}
			began := clock.Now()
			if err := k.Settle(10 * time.Second); err != nil || clock.Now()-began > time.Second {
				t.Errorf("a window would take %v (%v)", clock.Now()-began, err)
			}
		})
	}
}

// What is written can be in memory that nobody serves: that is held, and nobody else waits for it.
func TestGuestMemoryWithoutAnswer(t *testing.T) {
	k := keep(t, Config{MaxWait: 5 * time.Second})
	begin(t, "unanswered")
	pid := k.waits(t, 1)[0].PID
	defer unix.Kill(pid, unix.SIGKILL) // it waits for ever
	other := begin(t, "timestamps")
	if out := other.ends(); out != "done" {
		t.Errorf("another operation: %q", out)
	}
	eventually(t, "both records", func() bool { return len(k.all()) == 2 })
	for _, r := range k.all() {
		r.want(t, Held, ByWait)
		if r.Held > 20*time.Second {
			t.Errorf("held for %v, want 5 s and what a keeper in an emulated guest takes", r.Held)
		}
	}
}

// Whatever descends from a helper that the kernel waits for, at any depth.
func TestGuestHelperOfTheKernel(t *testing.T) {
	const setting = "/proc/sys/kernel/modprobe"
	before, err := os.ReadFile(setting)
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(setting, before, 0)
	if err := os.WriteFile(setting, []byte("/proc/1/exe"), 0); err != nil {
		t.Fatal(err)
	}
	k := keep(t, Config{MaxWait: 10 * time.Second})
	if err := unix.Mount("none", "/", helperModule, 0, ""); err == nil { // the kernel asks for fs-…
		t.Error("there is a file system of that name")
	}
	var found []Record
	for _, r := range k.all() {
		if r.Operation == "socket-option" {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d records of the helper's grandchild, want 1: %v", len(found), k.all())
	}
	found[0].want(t, NotHeld, exemptions[exemptHelper])
}

// What process 1 waits for, doing nothing else. Another process stands for it here, as this one has several threads.
func TestGuestAwaitedByTheFirst(t *testing.T) {
	dir := t.TempDir()
	p := begin(t, "first "+dir)
	var text []byte
	eventually(t, "the process that waits", func() bool { text, _ = os.ReadFile(dir + "/first"); return len(text) > 0 })
	first, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	k := keep(t, Config{first: first})
	eventually(t, "it is closed", func() bool { s, err := k.Status(); return err == nil && s.Closed })
	eventually(t, "it waits", func() bool { return inCall(os.DirFS("/"), first, unix.SYS_WAIT4) })
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out := p.ends(); out != "0done" {
		t.Errorf("got %q", out)
	}
	eventually(t, "the record", func() bool { return len(k.all()) > 0 })
	k.only(t).want(t, NotHeld, exemptions[exemptInitChild])
}

// helperModule is what makes this program, as the kernel's helper, start another that operates.
const helperModule = "taskiso-test"

func beHelper() {
	c := command("job:timestamps")
	c.Run()
}

func isHelper() bool {
	return len(os.Args) > 1 && strings.HasSuffix(os.Args[len(os.Args)-1], helperModule)
}

func continued([]string) (string, error) {
	var n atomic.Int32
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGCONT)
	go func() {
		for range signals {
			n.Add(1)
		}
	}()
	err := timestamps()
	time.Sleep(50 * time.Millisecond)
	afterwards = fmt.Sprintf(" after %d signals", n.Load())
	return "", err
}

// unstoppable blocks or handles every signal by which the program at the hook would stop it.
func unstoppable([]string) (string, error) {
	runtime.LockOSThread()
	var window unix.Sigset_t
	window.Val[0] = bit(unix.SIGWINCH)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &window, nil); err != nil {
		return "", err
	}
	return continued(nil)
}

// watchedByAgent has setsockopt(2) of this thread pass a seccomp filter and an agent, which counts.
func watchedByAgent([]string) (string, error) {
	runtime.LockOSThread()
	listener, err := notifyOf(unix.SYS_SETSOCKOPT)
	if err != nil {
		return "", err
	}
	var n atomic.Int32
	go func() {
		for answerNotification(listener) == nil {
			n.Add(1)
		}
	}()
	err = timestamps()
	afterwards = fmt.Sprintf(" after %d notifications", n.Load())
	return "", err
}

// childlessAgent is watchedByAgent in a program that does not handle SIGCHLD, as Go's runtime does.
func childlessAgent(args []string) (string, error) {
	var defaults [4]uint64 // struct sigaction of the kernel
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&defaults)), 0, 8, 0, 0); errno != 0 {
		return "", errno
	}
	return watchedByAgent(args)
}

// notifyOf installs a filter that asks a listener about one system call.
func notifyOf(nr uint32) (int, error) {
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	const allow, notify = 0x7fff0000, 0x7fc00000 // SECCOMP_RET_ALLOW, _USER_NOTIF
	program := []unix.SockFilter{{Code: load}, {Code: equal, Jf: 1, K: nr}, {Code: ret, K: notify}, {Code: ret, K: allow}}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, err
	}
	fprog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	const setFilter, newListener = 1, 1 << 3
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, setFilter, newListener, uintptr(unsafe.Pointer(&fprog)))
	if errno != 0 {
		return 0, errno
	}
	return int(fd), nil
}

// answerNotification lets the next call that a listener is asked about go on.
func answerNotification(listener int) error {
	var asked [80]byte // struct seccomp_notif
	const receive, send, goOn = 0xc0502100, 0xc0182101, 1
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), receive, uintptr(unsafe.Pointer(&asked)))
		if errno == unix.EINTR || errno == unix.ENOENT {
			continue
		}
		if errno != 0 {
			return errno
		}
		break
	}
	answer := struct { // struct seccomp_notif_resp
		id           uint64
		value        int64
		error, flags int32
	}{id: binary.NativeEndian.Uint64(asked[:]), flags: goOn}
	unix.Syscall(unix.SYS_IOCTL, uintptr(listener), send, uintptr(unsafe.Pointer(&answer)))
	return nil
}

// alone has the operation done by a process that has one thread, and no handlers.
func alone(fork func(fd int) (pid int, err error)) (string, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return "", err
	}
	pid, err := fork(fd)
	if err != nil {
		return "", err
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
		return "", err
	}
	if ws.Signaled() {
		return ws.Signal().String(), nil
	}
	return fmt.Sprint(ws.ExitStatus()), nil
}

// forkAlone makes a process that makes system calls and nothing else. It has none of the
// runtime's threads: where the scheduler had asked this goroutine for its CPU before the
// fork, the check of the stack at the begin of a function would wait for them for ever. So
// what it calls has no such check.
//
//go:norace
//go:nosplit
func forkAlone(fd int) (int, error) {
	runtime.LockOSThread()
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	if pid == 0 {
		operateAlone(fd)
	}
	return int(pid), nil
}

//go:norace
//go:nosplit
func operateAlone(fd int) {
	var defaults [4]uint64 // struct sigaction of the kernel
	one := int32(1)
	for s := uintptr(1); s < 32; s++ {
		syscall.RawSyscall6(unix.SYS_RT_SIGACTION, s, uintptr(unsafe.Pointer(&defaults)), 0, 8, 0, 0)
	}
	_, _, errno := syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMP, uintptr(unsafe.Pointer(&one)), 4, 0)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(errno), 0, 0)
	}
}

// awaiting makes a process that waits for a child of its own, which operates once a
// file named go is in the directory. The number of the first is in a file there.
func awaiting(dir string) func(fd int) (int, error) {
	return func(fd int) (int, error) {
		var pipe [2]int
		if err := unix.Pipe2(pipe[:], 0); err != nil {
			return 0, err
		}
		pid, err := forkAwaiting(fd, pipe[0])
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(dir+"/first", []byte(strconv.Itoa(pid)), 0o600); err != nil {
			return 0, err
		}
		for {
			if _, err := os.Stat(dir + "/go"); err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		_, err = unix.Write(pipe[1], []byte{1})
		return pid, err
	}
}

//go:norace
//go:nosplit
func forkAwaiting(fd, pipe int) (int, error) {
	var word [1]byte
	var status int32
	runtime.LockOSThread()
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		return int(pid), errOf(errno)
	}
	child, _, _ := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	if child == 0 {
		syscall.RawSyscall(unix.SYS_READ, uintptr(pipe), uintptr(unsafe.Pointer(&word)), 1)
		operateAlone(fd)
	}
	syscall.RawSyscall6(unix.SYS_WAIT4, child, uintptr(unsafe.Pointer(&status)), 0, 0, 0, 0)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(status>>8), 0, 0)
	}
}

func errOf(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// writeUnanswered writes from memory whose faults are told to a descriptor that nobody reads.
func writeUnanswered() error {
	fd, _, errno := unix.Syscall(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0)
	if errno != 0 {
		return fmt.Errorf("userfaultfd: %w", errno)
	}
	page := os.Getpagesize()
	memory, err := unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	api := [3]uint64{0xaa}                                                                                // UFFD_API
	region := [4]uint64{uint64(uintptr(unsafe.Pointer(&memory[0]))), uint64(page), 1 /* missing pages */} // struct uffdio_register
	const uffdAPI, uffdRegister = 0xc018aa3f, 0xc020aa00
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uffdAPI, uintptr(unsafe.Pointer(&api))); errno != 0 {
		return fmt.Errorf("UFFDIO_API: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uffdRegister, uintptr(unsafe.Pointer(&region))); errno != 0 {
		return fmt.Errorf("UFFDIO_REGISTER: %w", errno)
	}
	trigger, err := unix.Open("/proc/sysrq-trigger", unix.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(trigger, memory[:1])
	return err
}
