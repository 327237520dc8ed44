// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/trace"
)

// watchVictimCPU returns what reads all that is recorded for the victim's CPU.
func watchVictimCPU(t *testing.T) (read func() []event.Event) {
	t.Helper()
	cpus, err := cpulist.New(victimCPU)
	if err != nil {
		t.Fatal(err)
	}
	tracer, err := trace.Open(trace.Config{CPUs: cpus, PossibleCPUs: 4, AllTasks: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tracer.Close() })
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	return func() []event.Event {
		b, err := tracer.Read()
		if err != nil {
			t.Fatal(err)
		}
		return b.Events
	}
}

// A call of sched_setaffinity that the kernel refuses has let nobody run anywhere.
func TestGuestRefusedAffinity(t *testing.T) {
	read := watchVictimCPU(t)
	there, err := cpulist.New(victimCPU)
	if err != nil {
		t.Fatal(err)
	}
	tid := make(chan int)
	refused := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its user
		bound, err := threadNamed("ksoftirqd/0")
		if err == nil {
			err = expect(affinity.Set(bound, there), unix.EINVAL)
		}
		if err == nil {
			err = affinity.Set(0, there)
		}
		tid <- unix.Gettid()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			err = errors.Join(err, errno)
		}
		refused <- errors.Join(err, expect(affinity.Set(1, there), unix.EPERM))
	}()
	want := <-tid
	if err := <-refused; err != nil {
		t.Fatal(err)
	}
	var recorded []uint64
	for _, e := range read() {
		if e.Kind == event.SendAffinity {
			recorded = append(recorded, e.B)
			if int(e.Sender.PID) != os.Getpid() {
				t.Errorf("by %+v, want this process", e.Sender)
			}
		}
	}
	if len(recorded) != 1 || recorded[0] != uint64(want) {
		t.Errorf("recorded of threads %v, want only %d, which was allowed to", recorded, want)
	}
}

func expect(err error, want unix.Errno) error {
	if !errors.Is(err, want) {
		return fmt.Errorf("setting an affinity: error %v, want %w", err, want)
	}
	return nil
}

// threadNamed returns the number of a thread of the kernel.
func threadNamed(name string) (int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		if comm, err := os.ReadFile(file); err == nil && string(comm) == name+"\n" {
			var pid int
			_, err := fmt.Sscanf(file, "/proc/%d/comm", &pid)
			return pid, err
		}
	}
	return 0, fmt.Errorf("no thread %s", name)
}

// A CPU from which a device's interrupt is moved gives up its vector once it has occurred elsewhere: in an interrupt
// that has no event on Linux 6.1, in a timer on later kernels.
func TestGuestVectorGivenUp(t *testing.T) {
	read := watchVictimCPU(t)
	defer sendInterrupt(housekeepingCPU)
	console, err := os.OpenFile("/dev/ttyS0", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	for _, step := range []struct {
		cpu  int
		want event.Kind
	}{{victimCPU, event.IRQEnter}, {housekeepingCPU, event.VectorFreed}} {
		if err := sendInterrupt(step.cpu); err != nil {
			t.Fatal(err)
		}
		found := false
		for deadline := time.Now().Add(2 * time.Minute); !found && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if _, err := console.WriteString(".\n"); err != nil {
				t.Fatal(err)
			}
			for _, e := range read() {
				found = found || e.Kind == step.want && e.CPU == victimCPU && e.A == 4
			}
		}
		if !found {
			t.Fatalf("interrupt 4 goes to CPU %d: CPU %d shows no %v", step.cpu, victimCPU, step.want)
		}
	}
}
