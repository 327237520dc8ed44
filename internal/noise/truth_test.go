// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/proc"
)

// Gaps of which is known when they were, and that there were a hundred, are all
// found. Times are compared with those of whoever made the gap.

const (
	known = 100
	// inexact is how far a gap may begin or end from where it must have.
	inexact = 2 * time.Microsecond
	// switching is what the shortest of a hundred gaps may take longer than what it was
	// made with: two context switches, and the wait for them on a virtual machine.
	switching = 100 * time.Microsecond
)

// interval is when something surely kept the loop from running, on CLOCK_MONOTONIC.
type interval struct{ from, to time.Duration }

// loopVariable makes the test binary a loop on the CPU that it names.
const loopVariable = "TASKISO_TEST_LOOP"

const recordFD = 3

// loopPriority is below that of what disturbs it.
const loopPriority = 10

// beLoop is the loop's process.
func beLoop(cpu string) error {
	n, err := strconv.Atoi(cpu)
	if err != nil {
		return err
	}
	signal.Ignore(os.Interrupt)
	runtime.LockOSThread()
	if err := affinity.Pin(n); err != nil {
		return err
	}
	// Else what it shares its CPU with has a turn after each disturbance: on a busy machine
	// every gap was longer by more than 100 µs.
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: loopPriority}
	if err := unix.SchedSetAttr(0, &attr, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return err
	}
	shared, err := OpenShared(os.NewFile(recordFD, "record"))
	if err != nil {
		return err
	}
	l := NewLoop(cpuCounter, time.Microsecond, shared.Records[0])
	l.Timed = true
	l.Run()
	return nil
}

// disturb runs a loop in a process of its own, has make disturb it a hundred times, and
// returns all gaps.
func disturb(t *testing.T, makeGap func(cpu int, loop *os.Process) (interval, error)) ([]Gap, []interval) {
	t.Helper()
	shared, err := NewShared(1)
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cpu := lastCPU(t)
	loop, err := os.StartProcess(self, []string{self}, &os.ProcAttr{
		Env:   append(os.Environ(), fmt.Sprintf("%s=%d", loopVariable, cpu), "GOGC=off"),
		Files: []*os.File{nil, nil, os.Stderr, shared.File},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer loop.Wait()
	defer loop.Kill()
	record := shared.Records[0]
	record.Begin()
	wait(t, record.Began)
	var made []interval
	var gaps []Gap
	drain := func() { record.Drain(func(g Gap) { gaps = append(gaps, g) }) }
	for range known {
		drain() // on a CPU that is throttled, each interval may be a gap, and the ring is full soon
		i, err := makeGap(cpu, loop)
		if errors.Is(err, unix.EPERM) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, i)
		time.Sleep(time.Millisecond)
	}
	record.Stop()
	wait(t, record.Done)
	drain()
	if s := record.State(); s.LostClock || record.Dropped() > 0 {
		t.Errorf("the loop ended with %+v; the ring had no room for %d gaps", s, record.Dropped())
	}
	return gaps, made
}

// wait waits for a loop, which needs a turn on its CPU.
func wait(t *testing.T, until func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !until(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the loop does not begin, or does not end")
		}
	}
}

// checkFound checks that each interval is inside a gap, and that the shortest gap is
// not much longer than the interval.
func checkFound(t *testing.T, gaps []Gap, made []interval) {
	t.Helper()
	found := 0
	var longer []time.Duration
	for j, m := range made {
		i := slices.IndexFunc(gaps, func(g Gap) bool { return g.At <= m.from+inexact && g.End() >= m.to-inexact })
		if i < 0 {
			t.Logf("no gap around the %dth: %v", j+1, m)
			continue
		}
		found++
		longer = append(longer, gaps[i].Length-(m.to-m.from))
	}
	if found != known {
		t.Fatalf("%d of %d found", found, known)
	}
	slices.Sort(longer)
	t.Logf("%d of %d found; gaps are longer by %v, %v, %v, %v, %v (least, p10, median, p90, most)", found, known,
		longer[0], longer[known/10], longer[known/2], longer[known*9/10], longer[known-1])
	if longer[0] > switching {
		t.Errorf("all are longer by %v or more", longer[0])
	}
}

func TestGapsOfStops(t *testing.T) {
	const length = 2 * time.Millisecond
	gaps, made := disturb(t, func(_ int, loop *os.Process) (interval, error) {
		if err := loop.Signal(unix.SIGSTOP); err != nil {
			return interval{}, err
		}
		if err := waitStopped(loop.Pid); err != nil {
			return interval{}, err
		}
		from := time.Duration(readClock())
		time.Sleep(length)
		to := time.Duration(readClock())
		return interval{from, to}, loop.Signal(unix.SIGCONT)
	})
	found := 0
	for _, m := range made {
		if slices.ContainsFunc(gaps, func(g Gap) bool { return g.At <= m.from+inexact && g.End() >= m.to-inexact && g.Length >= m.to-m.from }) {
			found++
		}
	}
	if found != known {
		t.Errorf("%d of %d found", found, known)
	}
}

// waitStopped waits until a signal has stopped all threads of a process.
func waitStopped(pid int) error {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		threads, err := proc.Threads(os.DirFS("/"), pid)
		if err != nil {
			return err
		}
		running := slices.DeleteFunc(slices.Clone(threads), func(tid int) bool {
			stat, err := proc.ReadStat(os.DirFS("/"), proc.Thread(pid, tid))
			return err == nil && stat.State == "T"
		})
		if len(threads) > 0 && len(running) == 0 {
			return nil
		}
	}
	return fmt.Errorf("process %d does not stop", pid)
}

func TestGapsOfAFIFOThread(t *testing.T) {
	for _, length := range []time.Duration{10 * time.Microsecond, 50 * time.Microsecond, time.Millisecond} {
		t.Run(length.String(), func(t *testing.T) {
			checkFound(disturbFIFO(t, func() interval {
				from := time.Duration(readClock())
				to := from
				for to < from+length {
					to = time.Duration(readClock())
				}
				return interval{from, to}
			}))
		})
	}
}

// A thread that a timer wakes at a known time, and that runs until another known time.
func TestGapsOfATimer(t *testing.T) {
	const length = 500 * time.Microsecond
	checkFound(disturbFIFO(t, func() interval {
		due := time.Duration(readClock()) + time.Millisecond
		at := unix.NsecToTimespec(int64(due))
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil) != nil {
		}
		from, to := time.Duration(readClock()), due+length
		for time.Duration(readClock()) < to {
		}
		return interval{from, max(from, to)}
	}))
}

// disturbFIFO disturbs the loop with f on a thread of higher priority on its CPU.
func disturbFIFO(t *testing.T, f func() interval) (*testing.T, []Gap, []interval) {
	t.Helper()
	undisturbed(t, 1)
	turns, done := make(chan int), make(chan interval)
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 50}
		err := unix.SchedSetAttr(0, &attr, 0)
		failed <- err
		if err != nil {
			return
		}
		pin(t, 0, lastCPU(t))
		for range turns {
			done <- f()
		}
	}()
	if err := <-failed; errors.Is(err, unix.EPERM) {
		t.Skip("a real-time thread takes root")
	} else if err != nil {
		t.Fatal(err)
	}
	defer close(turns)
	gaps, made := disturb(t, func(cpu int, _ *os.Process) (interval, error) {
		turns <- cpu
		return <-done, nil
	})
	return t, gaps, made
}
