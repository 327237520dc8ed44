// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
)

// operateVariable makes the test binary a process that does what it names: "job:X"
// is the parent of one that does X.
const operateVariable = "TASKISO_TEST_OPERATE"

func command(name string) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), operateVariable+"="+name)
	if strings.HasSuffix(name, "agent") {
		// A signal makes its call once more, and with that the agent is asked once more: by the runtime, not by who holds.
		c.Env = append(c.Env, "GODEBUG=asyncpreemptoff=1")
	}
	return c
}

func operate(name string) {
	if job, ok := strings.CutPrefix(name, "job:"); ok {
		watchJob(job)
		return
	}
	words := strings.Fields(name)
	said, err := jobs[words[0]](words[1:])
	if err != nil {
		fmt.Printf("failed: %v\n", err)
		return
	}
	fmt.Print(said)
	fmt.Println("done" + afterwards)
}

// afterwards is said after "done".
var afterwards string

// watchJob waits for a child as a shell does, and says what it saw.
func watchJob(name string) {
	c := command(name)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal stops no group without a parent outside
	if err := c.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for {
		var ws unix.WaitStatus
		if _, err := unix.Wait4(c.Process.Pid, &ws, unix.WUNTRACED, nil); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		switch {
		case ws.Stopped():
			fmt.Print("stopped, ")
		case ws.Signaled():
			fmt.Println(ws.Signal())
			return
		default:
			return
		}
	}
}

var jobs = map[string]func(args []string) (said string, err error){
	"timestamps": func([]string) (string, error) { return "", timestamps() },
	// thrifty looks how much of a CPU its thread used, which comes to the hook again and again when nobody stops it.
	"thrifty": func([]string) (string, error) {
		runtime.LockOSThread()
		before := used()
		err := timestamps()
		if spent := used() - before; err == nil && spent > maySpend {
			err = fmt.Errorf("it used its CPU for %v", spent)
		}
		return "", err
	},
	// handler prints that it handled a signal, each time.
	"handler": func([]string) (string, error) {
		signals := make(chan os.Signal, 8)
		signal.Notify(signals, unix.SIGUSR1)
		go func() {
			for range signals {
				fmt.Print("handled, ")
			}
		}()
		return "", timestamps()
	},
	"threads": func([]string) (string, error) {
		go func() {
			runtime.LockOSThread()
			time.Sleep(300 * time.Millisecond)
			os.WriteFile(fmt.Sprintf("/tmp/counted-%d", os.Getpid()), nil, 0o600)
		}()
		return "", timestamps()
	},
	"pinned": func([]string) (string, error) {
		started := make(chan error)
		go func() {
			runtime.LockOSThread()
			cpus, err := cpulist.New(3)
			if err == nil {
				err = affinity.Set(0, cpus)
			}
			started <- err
			select {} // its thread is there until the process ends
		}()
		if err := <-started; err != nil {
			return "", err
		}
		return "", timestamps()
	},
	"affinity": func([]string) (string, error) {
		cpus, err := cpulist.New(0)
		if err != nil {
			return "", err
		}
		return "", affinity.Set(0, cpus)
	},
	// traced is done by a child that this process traces.
	"traced": func([]string) (string, error) {
		runtime.LockOSThread()
		c := command("awaiting-tracer")
		if err := c.Start(); err != nil {
			return "", err
		}
		if err := traceAll(c.Process.Pid); err != nil {
			return "", err
		}
		return "", waitTraced(c.Process.Pid)
	},
	"awaiting-tracer": func([]string) (string, error) {
		runtime.LockOSThread()
		for tracerOf(os.DirFS("/"), os.Getpid(), unix.Gettid()) == 0 {
			time.Sleep(time.Millisecond)
		}
		return "", timestamps()
	},
	"modules": func([]string) (string, error) { return "", loadTwice() },
	"storm":   func(args []string) (string, error) { return "", storm(args[0], args[1]) },
	"keeper":  func([]string) (string, error) { return "", beKeeper() },
	// unseen_guest_test.go, onlooker_guest_test.go
	"continued":       continued,
	"agent":           watchedByAgent,
	"childless-agent": childlessAgent,
	"unstoppable":     unstoppable,
	"alone":           func([]string) (string, error) { return alone(forkAlone) },
	"first":           func(args []string) (string, error) { return alone(awaiting(args[0])) },
	"vforked":         vforked,
	"waited":          waited,
	// stops_test.go
	"pairs":         func([]string) (string, error) { return "", sendPairs() },
	"handled-pairs": func([]string) (string, error) { return "", sendHandledPairs() },
	"pending":       func([]string) (string, error) { return "", pendingStops() },
	"unanswered":    func([]string) (string, error) { return "", writeUnanswered() },
}

// maySpend is what a held thread may use of its CPU: PATIENCE of bpf/hold.bpf.c, and the
// rest for an emulated guest, whose CPUs take turns of 100 ms.
const maySpend = 300 * time.Millisecond

// used is for how long this thread used a CPU.
func used() time.Duration {
	var u unix.Rusage
	const thisThread = 1 // RUSAGE_THREAD
	if err := unix.Getrusage(thisThread, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func timestamps() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1); err != nil {
		return err
	}
	if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMP); err != nil || v != 1 {
		return fmt.Errorf("the option is %d (%w) after it was set", v, err)
	}
	return nil
}

// storm does n operations, and notes each in a file when it is done.
func storm(file, n string) error {
	count, err := strconv.Atoi(n)
	if err != nil {
		return err
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer out.Close()
	for i := range count {
		if err := timestamps(); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, i); err != nil {
			return err
		}
	}
	return nil
}

func threadsOf(pid int) []int {
	dirs, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	var tids []int
	for _, d := range dirs {
		if tid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}

// traceAll traces the threads that a process has, and with them those that it will have.
func traceAll(pid int) error {
	for found := true; found; {
		found = false
		for _, tid := range threadsOf(pid) {
			if tracerOf(os.DirFS("/"), pid, tid) != 0 {
				continue
			}
			found = true // and others may have come from it
			if err := traceOnly(tid); err != nil {
				return err
			}
		}
	}
	return nil
}

// traceOnly traces a thread without stopping it.
func traceOnly(tid int) error {
	const traceClone = 8 // PTRACE_O_TRACECLONE, so that threads to come are traced too
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, traceClone, 0, 0); errno != 0 {
		return fmt.Errorf("tracing thread %d: %w", tid, errno)
	}
	return nil
}

// waitTraced lets a traced process run to its end.
func waitTraced(pid int) error {
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		if err != nil {
			return err
		}
		switch {
		case tid == pid && ws.Exited() && ws.ExitStatus() == 0:
			return nil
		case tid == pid && !ws.Stopped():
			return fmt.Errorf("the traced process ended with %v", ws)
		case ws.Stopped():
			s := ws.StopSignal()
			if uint32(ws)>>16 != 0 || s == unix.SIGTRAP {
				s = 0
			}
			unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_CONT, uintptr(tid), 0, uintptr(s), 0, 0)
		}
	}
}

// loadTwice loads a module by two threads at once. The kernel refuses one of
// them, or lets both think that they did it.
func loadTwice() error {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err
	}
	f, err := os.Open(fmt.Sprintf("/modules/%s/dummy.ko", unix.ByteSliceToString(u.Release[:])))
	if err != nil {
		return err
	}
	defer f.Close()
	var both sync.WaitGroup
	var errs [2]error
	var ready sync.WaitGroup
	ready.Add(2)
	for i := range errs {
		both.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			ready.Wait()
			errs[i] = unix.FinitModule(int(f.Fd()), "numdummies=0", 0)
		})
	}
	both.Wait()
	for _, err := range errs {
		if err != nil && err != unix.EEXIST {
			return err
		}
	}
	return unix.DeleteModule("dummy", unix.O_NONBLOCK)
}

// beKeeper holds until it is killed.
func beKeeper() error {
	cfg := Config{MaxWait: time.Minute, Policy: Hold, Files: os.DirFS("/")}
	var err error
	if cfg.CPUs, err = cpulist.Parse("2-3"); err != nil {
		return err
	}
	k, err := Open(cfg)
	if err != nil {
		return err
	}
	go func() {
		for {
			if s, err := k.Status(); err == nil && s.Closed {
				fmt.Println("ready")
				return
			}
			time.Sleep(time.Millisecond) // or an emulator has 100 ms less for what is waited for, each time
		}
	}()
	return k.Run(context.Background())
}
