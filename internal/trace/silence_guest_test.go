// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// spinVariable makes the test binary a task that spins on an isolated CPU and
// makes a system call now and then, so that there is something to observe.
const spinVariable = "TASKISO_TEST_SPIN"

func TestMain(m *testing.M) {
	if os.Getenv(spinVariable) != "" {
		spin()
		return
	}
	vmtest.Main(m)
}

const (
	spinCPU     = 3
	quietTime   = 8 * time.Second
	syscallRate = 10 * time.Millisecond
)

func spin() {
	runtime.LockOSThread()
	tasks, err := filepath.Glob("/proc/self/task/*")
	if err != nil {
		panic(err)
	}
	for _, task := range tasks { // all of Go's runtime stays on CPU 0
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			panic(err)
		}
		setAffinity(tid, 0)
	}
	setAffinity(0, spinCPU)
	for next := time.Now(); ; {
		if now := time.Now(); now.After(next) {
			next = now.Add(syscallRate)
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	}
}

func setAffinity(tid, cpu int) {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		panic(err)
	}
}

// Observing an isolated CPU, with events coming and being drained, interrupts
// it no more than it is interrupted without; and the test would notice.
func TestGuestSilence(t *testing.T) {
	server := fmt.Sprintf("/sys/kernel/debug/sched/fair_server/cpu%d/runtime", spinCPU)
	if err := os.WriteFile(server, []byte("0"), 0); err != nil {
		t.Logf("no deadline server to switch off: %v", err)
	}
	spinner := exec.Command("/proc/self/exe")
	spinner.Env = append(os.Environ(), spinVariable+"=1", "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	if err := spinner.Start(); err != nil {
		t.Fatal(err)
	}
	defer spinner.Wait()
	defer spinner.Process.Kill()
	setAffinity(unix.Getpid(), 0)
	time.Sleep(2 * time.Second)

	control := interruptsWhile(t, func() { time.Sleep(quietTime) })
	silent, events := observeWhile(t, false)
	waking, _ := observeWhile(t, true)
	t.Logf("interrupts of CPU %d in %v: without observer %v, observed %v (%d events), observed with a waking ring buffer %v",
		spinCPU, quietTime, control, silent, events, waking)

	if want := int(quietTime / syscallRate / 2); events < want {
		t.Errorf("observed %d events, want %d or more", events, want)
	}
	// One or two that are nobody's doing can fall into either.
	const tolerance = 2
	if more := total(silent) - total(control); more > tolerance {
		t.Errorf("observed, the CPU was interrupted %d times more: %v, without %v", more, silent, control)
	}
	if more := total(waking) - total(control); more < events/4 {
		t.Errorf("a waking ring buffer interrupted the CPU only %d times more: this test would notice nothing", more)
	}
}

// observeWhile returns the interrupts of the CPU while it is observed, and how
// many events there were. Attaching and detaching are not part of that time.
func observeWhile(t *testing.T, waking bool) (map[string]int, int) {
	t.Helper()
	tracer, err := Open(Config{CPUs: mustParse(t, fmt.Sprint(spinCPU)), AllTasks: true, PossibleCPUs: possibleCPUs(t), waking: waking})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	events := 0
	counts := interruptsWhile(t, func() {
		for begin := time.Now(); time.Since(begin) < quietTime; time.Sleep(10 * time.Millisecond) {
			batch, err := tracer.Read()
			if err != nil {
				t.Fatal(err)
			}
			events += len(batch.Events)
		}
	})
	return counts, events
}

// interruptsWhile returns what f has the CPU interrupted by, by row of
// /proc/interrupts.
func interruptsWhile(t *testing.T, f func()) map[string]int {
	t.Helper()
	read := func() topology.Table {
		table, err := topology.Interrupts(os.DirFS("/"))
		if err != nil {
			t.Fatal(err)
		}
		return table
	}
	before := read()
	f()
	counts := make(map[string]int)
	diff := topology.Diff(before, read())
	for _, row := range diff.Rows {
		if n, ok := diff.Count(row.Name, spinCPU); ok && n > 0 {
			counts[row.Name] = int(n)
		}
	}
	return counts
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range slices.Collect(maps.Values(counts)) {
		sum += n
	}
	return sum
}
