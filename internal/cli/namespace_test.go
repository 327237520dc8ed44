// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// namespaceVariable makes the test binary run a program in its PID namespace, which is new, with a /proc of that one.
const namespaceVariable = "TASKISO_TEST_PID_NAMESPACE"

// beInNamespace watches, from the same namespace, a process that works now and then, and runs the busy loop there. The time namespace is
// another as well, as in a container that was moved from another machine: attaching for each of them alone takes an emulator long.
func beInNamespace(spec string) error {
	program, cpu, _ := strings.Cut(spec, " ")
	if program == "" {
		return work()
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if out, err := exec.Command(program, "watch", "-d", "1s", "-p", "1").CombinedOutput(); err == nil || !strings.Contains(string(out), "/proc is that of another PID namespace") {
		return fmt.Errorf("with the /proc of another namespace: %v\n%s", err, out)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	victim := exec.Command("/proc/self/exe")
	victim.Env = append(os.Environ(), namespaceVariable+"= ")
	if err := victim.Start(); err != nil {
		return err
	}
	err := tell(os.Getenv(timensVariable), "86400", program, "watch", "--json", "-d", "300ms", "-p", strconv.Itoa(victim.Process.Pid))
	victim.Process.Kill()
	victim.Wait()
	if err != nil || cpu == "" {
		return err
	}
	return tell(program, "run", "--json", "-c", cpu, "-d", "300ms")
}

// work computes a little and sleeps much: attaching, beside a task that does not give way, takes an emulator long.
func work() error {
	for {
		for range 10_000 {
			sink++
		}
		if err := unix.Nanosleep(&unix.Timespec{Nsec: 5_000_000}, nil); err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// tell runs taskiso with a report on standard output.
func tell(program string, args ...string) error {
	var said bytes.Buffer
	var err error
	untilFree(func() string {
		said.Reset()
		c := exec.Command(program, args...)
		c.Stdout, c.Stderr = os.Stdout, &said
		if err = c.Run(); c.ProcessState != nil {
			err = nil // how it ended is in what it printed
		}
		return said.String()
	})
	os.Stderr.Write(said.Bytes())
	if err != nil {
		return fmt.Errorf("running %q: %w", args, err)
	}
	return nil
}

// checkInPIDNamespace checks that what taskiso says in a PID namespace is of the threads there, and in a time namespace of
// the kernel's clock: with the clock that a process reads there nothing lasts any time.
func checkInPIDNamespace(t *testing.T, timens, program, cpu string, want ...string) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s", namespaceVariable, program, cpu), timensVariable+"="+timens)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		t.Fatalf("in a PID namespace: %v\n%s%s", err, said.String(), out)
	}
	reports := json.NewDecoder(bytes.NewReader(out))
	for _, what := range want {
		var r report.Report
		if err := reports.Decode(&r); err != nil {
			t.Fatalf("reading the report of the %s: %v\n%s%s", what, err, said.String(), out)
		}
		var user, kernel time.Duration
		var calls uint64
		for _, c := range r.CPUs {
			user += c.User
			for _, cause := range c.Causes {
				kernel += cause.Total
				if cause.ID == "syscall" && strings.HasSuffix(cause.Detail, "nanosleep") {
					calls += cause.Count
				}
			}
		}
		if r.Task.Kind != what || !r.Tracing || user == 0 || kernel == 0 {
			t.Errorf("report of %+v, tracing %v, %v in user mode of %v, %v in breaks; want a %s that was seen to run", r.Task, r.Tracing, user, r.Duration, kernel, what)
		}
		if what != "busy loop" && calls < 2 {
			t.Errorf("%s: %d sleeps seen", what, calls)
		}
	}
}

func TestInPIDNamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("loading BPF programs needs root")
	}
	checkInPIDNamespace(t, vmtest.Build(t, inC("timens")), buildProgram(t), "1", "process", "busy loop")
}

// The busy loop is left out: to attach beside it takes long.
func TestGuestNumbersOfAPIDNamespace(t *testing.T) {
	checkInPIDNamespace(t, timensProgram, guestProgram, "", "process")
}

// Where the kernel hides its symbols, what is seen is the same, and has addresses, which are for root only.
func TestGuestNoSymbols(t *testing.T) {
	const restrict = "/proc/sys/kernel/kptr_restrict"
	writeFile(t, restrict, "2")
	defer writeFile(t, restrict, "0")
	for _, args := range [][]string{{"hold", "-c", "3", "-d", "1s"}, {"run", "-c", "3", "--hold", "-d", "1s", "-q"}} {
		out, err := exec.Command(guestProgram, args...).CombinedOutput()
		if err == nil || !strings.HasSuffix(string(out), "set kernel.kptr_restrict to 0 or 1\n") || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
	file := filepath.Join(t.TempDir(), "report.json")
	if out, err := exec.Command(guestProgram, "run", "-c", "1", "-d", "300ms", "--report", file).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	r := readReport(t, file)
	if !r.Tracing || len(r.CPUs) != 1 || r.CPUs[0].Breaks == 0 {
		t.Fatalf("tracing %v, CPUs %+v, limits %q", r.Tracing, r.CPUs, r.Limits)
	}
	if limits := strings.Join(r.Limits, "\n"); !strings.Contains(limits, "addresses") {
		t.Errorf("no limit says that functions are shown as addresses:\n%s", limits)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if shown := strings.Contains(string(text), `"0xffff`); !shown || info.Mode().Perm() != 0o600 {
		t.Errorf("addresses shown: %v, mode %v", shown, info.Mode())
	}
}
