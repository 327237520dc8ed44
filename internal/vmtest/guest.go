// SPDX-License-Identifier: Apache-2.0

package vmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/signame"
	"github.com/taskiso/taskiso/internal/vmtest/wire"
)

const (
	orderFile       = "/vmtest.json" // in the guest: what to do
	guestVariable   = "TASKISO_VMTEST_GUEST"
	serviceVariable = "TASKISO_VMTEST_SERVICE"
	workDir         = "/test"
)

// order is what the host tells the guest to do.
type order struct {
	Args []string // of the test binary
	Env  []string
	Init string // the program that takes the place of the first process, and starts this one again
}

// isInit is true in a guest's first process, or in the service of the init that has taken its place. Process 1 of a
// container has no orders.
func isInit() bool {
	if os.Getpid() != 1 && !isService() {
		return false
	}
	_, err := os.Stat(orderFile)
	return err == nil
}

// isService is true if another init has started this process.
func isService() bool { return os.Getenv(serviceVariable) != "" }

// InGuest is true in the process that runs the tests in a guest, and in its children: there a test may change the machine.
func InGuest() bool { return os.Getenv(guestVariable) != "" }

// guestInit is the guest's init. It runs this binary again as a child, because the first process of a system is no
// place for tests: it gets no signals, inherits orphans, and its end is a panic.
func guestInit() {
	signal.Ignore(unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGUSR1, unix.SIGUSR2)
	if err := initAndReport(); err != nil {
		fmt.Fprintln(os.Stderr, "vmtest:", err)
	}
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	fmt.Fprintln(os.Stderr, "vmtest: powering off:", err)
	os.Exit(1)
}

func initAndReport() error {
	todo, err := readOrder()
	if err != nil {
		return err
	}
	machine, err := here()
	if err != nil {
		return err
	}
	if !isService() {
		if err := mountAll(); err != nil {
			return err
		}
		if err := keepInterruptsAway(machine.console, machine.result); err != nil {
			return err
		}
		if todo.Init != "" {
			return giveWay(todo.Init)
		}
	}
	port, err := openPort("/dev/" + machine.result)
	if err != nil {
		return err
	}
	stream := wire.NewEncoder(port)
	end, err := runOrder(todo, stream)
	if err != nil {
		end = wire.End{ExitCode: -1, Error: err.Error()}
	}
	if err := stream.Encode(wire.Frame{End: &end}); err != nil {
		return err
	}
	return drain(port)
}

func readOrder() (order, error) {
	var todo order
	data, err := os.ReadFile(orderFile)
	if err != nil {
		return todo, fmt.Errorf("reading orders: %w", err)
	}
	if err := json.Unmarshal(data, &todo); err != nil {
		return todo, fmt.Errorf("parsing orders: %w", err)
	}
	return todo, nil
}

// giveWay makes another program the first process of the guest. It returns only if that fails.
func giveWay(program string) error {
	err := unix.Exec(program, []string{program}, []string{"PATH=/usr/bin:/usr/sbin"})
	return fmt.Errorf("executing %s as the first process: %w", program, err)
}

// runOrder runs the tests and returns how they ended. Everything they write has been sent by then.
func runOrder(todo order, stream *wire.Encoder) (wire.End, error) {
	if err := configure(); err != nil {
		return wire.End{}, err
	}
	if err := stream.Encode(wire.Frame{Hello: hello()}); err != nil {
		return wire.End{}, err
	}
	if isProbe() {
		return wire.End{}, nil
	}
	return runChild(todo, stream)
}

func isProbe() bool {
	cmdline, err := os.ReadFile("/proc/cmdline")
	return err == nil && slices.Contains(strings.Fields(string(cmdline)), probeParameter)
}

func hello() *wire.Hello {
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	uptime, _ := os.ReadFile("/proc/uptime")
	seconds, _, _ := strings.Cut(string(uptime), " ")
	return &wire.Hello{Release: strings.TrimSpace(string(release)), Uptime: seconds}
}

func runChild(todo order, stream *wire.Encoder) (wire.End, error) {
	in, out, err := os.Pipe()
	if err != nil {
		return wire.End{}, fmt.Errorf("creating a pipe: %w", err)
	}
	defer in.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return wire.End{}, err
	}
	defer null.Close()
	child, err := os.StartProcess("/init", append([]string{"vmtest"}, todo.Args...), &os.ProcAttr{
		Dir:   workDir,
		Env:   append(todo.Env, guestVariable+"=1", serviceVariable+"="),
		Files: []*os.File{null, out, out},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	out.Close()
	if err != nil {
		return wire.End{}, fmt.Errorf("starting the tests: %w", err)
	}
	sent := make(chan error, 1)
	go func() { sent <- send(in, stream) }()
	status, err := reapUntil(child.Pid)
	if err != nil {
		return wire.End{}, err
	}
	// A daemon that a test left behind may hold the pipe open for ever.
	if err := in.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return wire.End{}, fmt.Errorf("bounding the read of test output: %w", err)
	}
	return endOf(status), <-sent
}

func send(in io.Reader, stream *wire.Encoder) error {
	buf := make([]byte, wire.MaxOutput)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if err := stream.Encode(wire.Frame{Output: buf[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading test output: %w", err)
		}
	}
}

// reapUntil collects whatever processes end, up to and including pid. os/exec must not wait for any of them.
func reapUntil(pid int) (unix.WaitStatus, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("waiting for the tests: %w", err)
		}
		if got == pid {
			return status, nil
		}
	}
}

func endOf(status unix.WaitStatus) wire.End {
	end := wire.End{ExitCode: status.ExitStatus()}
	if status.Signaled() {
		end.Signal = signame.Of(status.Signal())
	}
	return end
}
