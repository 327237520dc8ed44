// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/emulator"
)

// victimVariable makes the test binary the victim of the provocations: it names
// the file to which the victim writes when it did which.
const victimVariable = "TASKISO_TEST_VICTIM"

// CPUs of a guest: the victim's is isolated.
const (
	victimCPU       = 3
	housekeepingCPU = 0
)

// chosenVariable names the provocations that the victim makes, between commas; all if it is empty.
const chosenVariable = "TASKISO_TEST_PROVOKE"

func chosenProvocations() []provocation {
	names := strings.Split(os.Getenv(chosenVariable), ",")
	if names[0] == "" {
		return provocations
	}
	return slices.DeleteFunc(slices.Clone(provocations), func(p provocation) bool { return !slices.Contains(names, p.name) })
}

// settle is the time after a provocation in which its effect is looked for.
const settle = 80 * time.Millisecond

// done says when a provocation was made, in CLOCK_MONOTONIC, or why it was not.
type done struct {
	Name     string
	From, To time.Duration
	Error    string
}

// victim is a process with a thread that spins on an isolated CPU. Everything
// else of it is on the housekeeping CPU and makes the provocations.
type victim struct {
	tid   int
	order atomic.Pointer[func()] // for the spinning thread
	stop  atomic.Bool
	dir   string // for files
}

func beVictim(file string) {
	runtime.LockOSThread()
	out, err := os.Create(file)
	if err == nil {
		err = moveAllThreads()
	}
	v := &victim{}
	if err == nil {
		v.dir, err = os.MkdirTemp("", "victim")
	}
	if err != nil {
		panic(err)
	}
	spinning := make(chan error)
	go v.spin(spinning)
	if err := <-spinning; err != nil {
		panic(err)
	}
	time.Sleep(settle)
	enc := json.NewEncoder(out)
	for _, p := range chosenProvocations() {
		d := done{Name: p.name, From: clock.Now()}
		if err := p.do(v); err != nil {
			d.Error = err.Error()
		}
		time.Sleep(settle)
		d.To = clock.Now()
		if err := enc.Encode(d); err != nil {
			panic(err)
		}
	}
	v.stop.Store(true)
}

// moveAllThreads moves every thread of this process to the housekeeping CPU.
// Threads that are yet to come inherit it.
func moveAllThreads() error {
	cpus, err := cpulist.New(housekeepingCPU)
	if err != nil {
		return err
	}
	return moveAllTo(cpus)
}

func moveAllTo(cpus cpulist.Set) error {
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			return err
		}
		if err := affinity.Set(tid, cpus); err != nil {
			return err
		}
	}
	return nil
}

func (v *victim) spin(started chan<- error) {
	runtime.LockOSThread()
	v.tid = unix.Gettid()
	cpus, err := cpulist.New(victimCPU)
	if err == nil {
		err = affinity.Set(0, cpus)
	}
	started <- err
	for !v.stop.Load() {
		if f := v.order.Load(); f != nil {
			(*f)()
			v.order.Store(nil)
		}
		emulator.Yield()
	}
}

// on runs f on the spinning thread and waits for its end.
func (v *victim) on(f func()) {
	v.order.Store(&f)
	for v.order.Load() != nil {
		time.Sleep(time.Millisecond)
	}
}

// helperVariable makes the test binary do one thing to its parent, from a
// process of its own.
const helperVariable = "TASKISO_TEST_HELPER"

// helper runs the named part of helpers in a child process.
func (v *victim) helper(name string, args ...any) error {
	c, err := v.helperCommand(name, args...)
	if err != nil {
		return err
	}
	out, err := c.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// arg returns a number given to a helper.
func arg(i int) int {
	n, err := strconv.Atoi(os.Getenv(fmt.Sprintf("ARG%d", i)))
	if err != nil {
		panic(err)
	}
	return n
}

var helpers = map[string]func() error{
	"stop and continue": func() error {
		if err := unix.Kill(os.Getppid(), unix.SIGSTOP); err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
		return unix.Kill(os.Getppid(), unix.SIGCONT)
	},
	"ptrace": func() error {
		runtime.LockOSThread()
		tid := arg(0)
		if err := seize(tid); err != nil {
			return err
		}
		return unix.PtraceDetach(tid)
	},
	"set breakpoint": func() error {
		runtime.LockOSThread()
		return setBreakpoint()
	},
	"be busy": func() error {
		spinFor(4 * settle)
		return nil
	},
	"load seccomp filter": loadSeccompFilter,
	"move to cgroup":      func() error { return inCgroup(func() error { return nil }) },
	"freeze":              func() error { return inCgroup(freeze) },
	"limit by quota":      func() error { return inCgroup(limitByQuota) },
	"set uprobe":          setUprobe,
	"write memory": func() error {
		mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", os.Getppid()), os.O_RDWR, 0)
		if err != nil {
			return err
		}
		_, err = mem.WriteAt([]byte{42}, int64(arg(1)))
		return err
	},
	"run there": func() error { // as a second task on the victim's CPU
		runtime.LockOSThread()
		cpus, err := cpulist.New(victimCPU)
		if err != nil {
			return err
		}
		if err := affinity.Set(0, cpus); err != nil {
			return err
		}
		if policy := arg(1); policy != unix.SCHED_NORMAL {
			attr := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: uint32(policy), Priority: 10}
			if err := unix.SchedSetAttr(0, attr, 0); err != nil {
				return err
			}
		}
		spinFor(20 * time.Millisecond)
		return nil
	},
}

// spinFor spins in user mode. It looks at the clock now and then only: where the
// kernel distrusts the time-stamp counter that is a system call, and as many as a
// program can make are too many for taskiso in an emulated machine.
func spinFor(d time.Duration) {
	for begin := time.Now(); time.Since(begin) < d; {
		for range 1 << 16 {
			sink++
		}
		emulator.Yield()
	}
}

func beHelper(name string) {
	if err := helpers[name](); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
