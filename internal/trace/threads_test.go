// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/event"
)

// Variables that make the test binary another program.
const (
	execVariable      = "TASKISO_TEST_EXEC"      // a thread that is not the leader executes another program
	namespaceVariable = "TASKISO_TEST_NAMESPACE" // the tests run in a PID namespace
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(execVariable) != "":
		go execFromThread()
		select {}
	case os.Getenv(namespaceVariable) != "":
		if err := mountProc(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// execFromThread says which thread it is and executes cat when it is told to.
func execFromThread() {
	for unix.Gettid() == os.Getpid() {
		go execFromThread() // on another thread, as this one is taken
		runtime.LockOSThread()
		select {}
	}
	runtime.LockOSThread()
	fmt.Println(unix.Gettid())
	os.Stdin.Read(make([]byte, len("go\n"))) // no more: the rest is cat's
	fmt.Fprintln(os.Stderr, syscall.Exec("/bin/cat", []string{"cat"}, nil))
	os.Exit(1)
}

// mountProc gives a process its /proc in a PID namespace and mount namespace of its own.
func mountProc() error {
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	return nil
}

// open returns a tracer that is closed at the end of the test.
func open(t *testing.T, c Config) *Tracer {
	t.Helper()
	needBPF(t)
	c.PossibleCPUs = possibleCPUs(t)
	tracer, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tracer.Close() })
	return tracer
}

// start starts a program that ends with its input.
func start(t *testing.T, c *exec.Cmd) (in io.Writer, out *bufio.Reader) {
	t.Helper()
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		c.Wait()
	})
	return stdin, bufio.NewReader(stdout)
}

// read returns what was recorded.
func read(t *testing.T, tracer *Tracer) []event.Event {
	t.Helper()
	b, err := tracer.Read()
	if err != nil {
		t.Fatal(err)
	}
	return b.Events
}

// The numbers of threads are those of the namespace that the tracer is in.
func TestInPIDNamespace(t *testing.T) {
	needBPF(t)
	c := exec.Command(os.Args[0], "-test.v", "-test.run=^(TestExecGivesUpTheNumber|TestWatchedThreadsAreOfThisNamespace)$")
	c.Env = append(os.Environ(), namespaceVariable+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	out, err := c.CombinedOutput()
	t.Logf("%s", out)
	if err != nil || strings.Count(string(out), "--- PASS") != 2 {
		t.Errorf("in a PID namespace: %v", err)
	}
}

// A process that is watched by its number here is seen, and whoever has that number in the kernel is not.
func TestWatchedThreadsAreOfThisNamespace(t *testing.T) {
	tracer := open(t, Config{})
	c := exec.Command("cat")
	in, out := start(t, c)
	if err := tracer.Watch(c.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		fmt.Fprintln(in, "x")
		if _, err := out.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	events := read(t, tracer)
	writes, woken := 0, 0
	for _, e := range events {
		switch {
		case e.Kind == event.SyscallEnter && int(e.TID) != c.Process.Pid:
			t.Errorf("%v of thread %d, which is not watched", e.Kind, e.TID)
		case e.Kind == event.SyscallEnter && e.A == unix.SYS_WRITE:
			writes++
		case e.Kind == event.SendWake && int(e.B) == c.Process.Pid && int(e.Sender.PID) == os.Getpid():
			woken++
		}
	}
	if writes < 10 {
		t.Errorf("%d writes of process %d seen, want 10", writes, c.Process.Pid)
	}
	t.Logf("%d events, woken %d times by this process", len(events), woken)
}

// What is known of the number of a thread that executes a program as another one goes with it: it will be another's.
func TestExecGivesUpTheNumber(t *testing.T) {
	tracer := open(t, Config{Follow: FollowProcesses, Isolation: true})
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), execVariable+"=1")
	in, out := start(t, c)
	var tid int
	if _, err := fmt.Fscanln(out, &tid); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tracer.Watch(tid), tracer.Isolation().Assign(uint32(tid), 3), tracer.Start()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(in, "go\nis cat\n")
	if line, err := out.ReadString('\n'); line != "is cat\n" {
		t.Fatalf("got %q, error %v", line, err)
	}
	execs := 0
	for _, e := range read(t, tracer) {
		if e.Kind == event.Exec {
			execs++
			if int(e.B) != tid || int(e.Task.TID) != c.Process.Pid || int(e.Task.PID) != c.Process.Pid {
				t.Errorf("thread %d executed a program and is %+v, said to have been %d", tid, *e.Task, e.B)
			}
		}
	}
	if execs != 1 {
		t.Errorf("%d programs executed, want 1", execs)
	}
	var v8 uint8
	var v32 uint32
	if err := tracer.tasks.Lookup(uint32(tid), &v8); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("number %d, which is nobody's now, is watched: %v", tid, err)
	}
	if err := tracer.tasks.Lookup(uint32(c.Process.Pid), &v8); err != nil {
		t.Errorf("process %d is not watched any more: %v", c.Process.Pid, err)
	}
	if err := tracer.isolation.slots.Lookup(uint32(tid), &v32); !errors.Is(err, ebpf.ErrKeyNotExist) {
		t.Errorf("number %d, which is nobody's now, has a status page: %v", tid, err)
	}
}

// pollOn lets the kernel poll for requests on a CPU, in a worker of this process, each time that wake is called.
func pollOn(t *testing.T, cpu uint32) (wake func()) {
	t.Helper()
	const setupSQPoll, setupSQAffinity = 1 << 1, 1 << 2
	params := [30]uint32{2: setupSQPoll | setupSQAffinity, 3: cpu, 4: 10_000} // struct io_uring_params: flags, sq_thread_cpu, sq_thread_idle in ms
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno == unix.ENOSYS || errno == unix.EPERM {
		t.Skipf("no io_uring here: %v", errno)
	} else if errno != 0 {
		t.Fatalf("setting up io_uring: %v", errno)
	}
	t.Cleanup(func() { unix.Close(int(fd)) })
	const enterSQWakeup = 1 << 1
	return func() { unix.Syscall6(unix.SYS_IO_URING_ENTER, fd, 0, 0, enterSQWakeup, 0, 0) }
}

// A thread that the kernel runs for a process has no user mode.
func TestWorkersOfAProcessAreNotInUserMode(t *testing.T) {
	tracer := open(t, Config{CPUs: mustParse(t, "1"), AllTasks: true})
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	wake := pollOn(t, 1)
	seen := 0
	for deadline := time.Now().Add(30 * time.Second); seen == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		wake()
		for _, e := range read(t, tracer) {
			if e.Kind != event.Switch || !strings.HasPrefix(e.Task.Name, "iou-sqp") {
				continue
			}
			seen++
			if !e.Task.Kernel || e.Task.Watched || int(e.Task.PID) != os.Getpid() {
				t.Errorf("the worker is %+v, want one of process %d without user mode", *e.Task, os.Getpid())
			}
		}
	}
	if seen == 0 {
		t.Error("the worker was not seen to run")
	}
}

// A thread that ends gives up its number wherever it ends, also on a CPU on which nothing else is recorded: the number
// will be another's. The event says where that was.
func TestExitOfAWatchedThreadIsSeenAnywhere(t *testing.T) {
	for _, tc := range []struct {
		name      string
		config    Config
		on        int // the CPU on which it ends
		watched   bool
		elsewhere uint64
	}{
		{"on a CPU that is watched", Config{CPUs: mustParse(t, "1")}, 1, true, 0},
		{"on one that is not", Config{CPUs: mustParse(t, "1")}, 0, true, 1},
		{"wherever threads are", Config{}, 0, true, 0},
		{"of whoever runs there", Config{CPUs: mustParse(t, "1"), AllTasks: true}, 0, false, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tracer := open(t, tc.config)
			c := exec.Command("cat")
			in, out := start(t, c)
			if err := affinity.Set(c.Process.Pid, mustParse(t, strconv.Itoa(tc.on))); err != nil {
				t.Fatal(err)
			}
			if tc.watched {
				if err := tracer.Watch(c.Process.Pid); err != nil {
					t.Fatal(err)
				}
			}
			if err := tracer.Start(); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(in, "x")
			if _, err := out.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			in.(io.Closer).Close()
			if err := c.Wait(); err != nil {
				t.Fatal(err)
			}
			exits := 0
			for _, e := range read(t, tracer) {
				if int(e.TID) != c.Process.Pid {
					continue
				}
				switch {
				case e.Kind == event.Exit:
					exits++
					if e.CPU != tc.on || e.A != tc.elsewhere {
						t.Errorf("it ended on CPU %d, elsewhere %d; want CPU %d, elsewhere %d", e.CPU, e.A, tc.on, tc.elsewhere)
					}
				case tc.elsewhere == 1 && e.Kind == event.SyscallEnter:
					t.Errorf("%v on CPU %d, which is not watched", e.Kind, e.CPU)
				}
			}
			if exits != 1 {
				t.Errorf("%d exits seen, want 1", exits)
			}
			if left, err := tracer.Watched(); err != nil || len(left) != 0 {
				t.Errorf("threads %v are watched, %v; want none: it has ended", left, err)
			}
		})
	}
}

// A switch between two tasks that are not watched is recorded once where the last one recorded was to a watched task: that was switched away
// without an event then, which no test can make the kernel do.
func TestSwitchAfterAnUnreportedOne(t *testing.T) {
	tracer := open(t, Config{Follow: FollowThreads})
	c := exec.Command("cat") // waits for input
	start(t, c)
	if err := errors.Join(tracer.Watch(c.Process.Pid), tracer.Start()); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := affinity.Of(0)
	if err != nil {
		t.Fatal(err)
	}
	defer affinity.Set(0, before)
	cpu, _ := before.First()
	if err := affinity.Pin(cpu); err != nil {
		t.Fatal(err)
	}
	others := func() (n int) { // after some switches from and to this thread
		for range 5 {
			unix.Nanosleep(&unix.Timespec{Nsec: 1_000_000}, nil)
		}
		for _, e := range read(t, tracer) {
			if e.Kind == event.Switch && e.CPU == cpu && !e.Watched && !e.Task.Watched {
				n++
			}
		}
		return n
	}
	if n := others(); n != 0 {
		t.Errorf("%d switches between others recorded, want none", n)
	}
	at := int64(cpu*cpuStateSize) + int64(unsafe.Offsetof(bpfCpuState{}.Shown))
	if _, err := tracer.state.WriteAt(binary.NativeEndian.AppendUint32(nil, 1), at); err != nil {
		t.Fatal(err)
	}
	if n := others(); n != 1 {
		t.Errorf("%d switches between others recorded where a watched task was taken to run, want 1", n)
	}
}
