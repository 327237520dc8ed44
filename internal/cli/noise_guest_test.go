// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/noise"
)

const clocksources = "/sys/devices/system/clocksource/clocksource0/"

func readWords(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// measuring is a taskiso noise on CPU 3 that has begun.
type measuring struct {
	command     *exec.Cmd
	out, stderr bytes.Buffer
	loop        int // its process
}

func startNoise(t *testing.T, args ...string) *measuring {
	t.Helper()
	m := &measuring{command: exec.Command(guestProgram, append([]string{"noise", "-c", "3", "--json"}, args...)...)}
	m.command.Stdout, m.command.Stderr = &m.out, &m.stderr
	if err := m.command.Start(); err != nil {
		t.Fatal(err)
	}
	m.loop = waitForLoop(t, m.command.Process.Pid)
	time.Sleep(2 * time.Second)
	return m
}

// hangs is when a measurement is asked for its stacks.
const hangs = 3 * time.Minute

func (m *measuring) end(t *testing.T, code int) noise.Report {
	t.Helper()
	hung := time.AfterFunc(hangs, func() { m.command.Process.Signal(unix.SIGABRT) })
	m.command.Wait() // how it ended is in ProcessState
	hung.Stop()
	t.Log(m.stderr.String())
	if got := m.command.ProcessState.ExitCode(); got != code {
		t.Errorf("exit status %d, want %d", got, code)
	}
	var r noise.Report
	if err := json.Unmarshal(m.out.Bytes(), &r); err != nil {
		t.Fatalf("parsing the report: %v\n%s", err, &m.out)
	}
	return r
}

// useClock has the kernel use a clock source that can be read in user mode, or one
// that cannot, and returns it.
func useClock(t *testing.T, inUserMode bool) {
	t.Helper()
	for _, source := range readWords(t, clocksources+"available_clocksource") {
		if (source == "tsc") == inUserMode {
			writeFile(t, clocksources+"current_clocksource", source)
			return
		}
	}
	t.Fatalf("no such clock source among %v", readWords(t, clocksources+"available_clocksource"))
}

// A stopped loop has gaps with a cause, and none that it made itself. There are gaps
// without a cause as well, when QEMU runs another CPU of the guest.
func TestGuestGaps(t *testing.T) {
	if !slices.Contains(readWords(t, clocksources+"available_clocksource"), "tsc") {
		refusedNoise(t)
		return
	}
	useClock(t, true)
	m := startNoise(t, "-d", "5s", "-c", "2-3") // the last -c counts
	for range 5 {
		stop(t, m.loop, 20*time.Millisecond)
		time.Sleep(20 * time.Millisecond)
	}
	r := m.end(t, 0)
	checkYields(t, r.Loop.YieldsEvery, r.Limits)
	if len(r.CPUs) != 2 {
		t.Fatalf("%d CPUs measured, want 2", len(r.CPUs))
	}
	for _, cpu := range r.CPUs {
		checkStopped(t, r.Tracing, cpu)
	}
}

func checkStopped(t *testing.T, tracing bool, cpu noise.CPU) {
	t.Helper()
	t.Logf("%+v", cpu)
	if !tracing || cpu.Ran < 4*time.Second || cpu.Recorded.Count < 5 || cpu.Recorded.Count+cpu.Unexplained.Count+cpu.Unknown.Count != cpu.Gaps {
		t.Errorf("%d gaps, recorded %+v, unexplained %+v, unknown %+v", cpu.Gaps, cpu.Recorded, cpu.Unexplained, cpu.Unknown)
	}
	if cpu.Recorded.Max < 20*time.Millisecond {
		t.Errorf("the loop was stopped for 20 ms; the longest gap with a cause has %v", cpu.Recorded.Max)
	}
	for _, c := range cpu.Causes {
		if strings.HasPrefix(c.Title, "system call") {
			t.Errorf("the loop made %d system calls: %s", c.Count, c.Detail)
		}
	}
}

// Where the kernel has to be asked for the time, noise is refused, and run's loop does
// not ask.
func TestGuestGapsWithoutClock(t *testing.T) {
	before := readWords(t, clocksources+"current_clocksource")[0]
	defer writeFile(t, clocksources+"current_clocksource", before)
	useClock(t, false)
	refusedNoise(t)
	r, code, out := runProgram(t, "run", "-c", "3", "-d", "3s")
	if code != 0 {
		t.Errorf("exit status %d: %s", code, out)
	}
	for _, b := range r.CPUs[0].Causes {
		if strings.HasPrefix(b.Title, "system call") {
			t.Errorf("the loop made %d system calls: %s", b.Count, b.Detail)
		}
	}
}

func refusedNoise(t *testing.T) {
	t.Helper()
	out, err := exec.Command(guestProgram, "noise", "-c", "3", "-d", "1s").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "no clock can be read without entering the kernel") {
		t.Errorf("got %v and %q", err, out)
	}
}

// The kernel stops trusting the counter while it is used: the measurement ends.
func TestGuestGapsUntilTheClockIsLost(t *testing.T) {
	if !slices.Contains(readWords(t, clocksources+"available_clocksource"), "tsc") {
		return // TestGuestGaps has shown what happens here
	}
	defer useClock(t, true)
	useClock(t, true)
	m := startNoise(t, "-d", "60s")
	useClock(t, false)
	if r := m.end(t, exitFailed); r.EndedBy != "clock" || !strings.Contains(m.stderr.String(), "trusts the CPU's counter no longer") {
		t.Errorf("ended by %q: %s", r.EndedBy, &m.stderr)
	}
}

// A loop whose CPU goes away measures nothing any more.
func TestGuestGapsUntilTheCPUGoesAway(t *testing.T) {
	if !slices.Contains(readWords(t, clocksources+"available_clocksource"), "tsc") {
		return
	}
	useClock(t, true)
	m := startNoise(t, "-d", "60s")
	const online = "/sys/devices/system/cpu/cpu3/online"
	began := time.Now()
	writeFile(t, online, "0")
	defer writeFile(t, online, "1")
	r := m.end(t, exitFailed)
	if !strings.Contains(m.stderr.String(), "went offline") || time.Since(began) > 40*time.Second {
		t.Errorf("it ended %v after the CPU went offline, with %q", time.Since(began), &m.stderr)
	}
	if r.EndedBy != "moved" || r.CPUs[0].MovedTo == nil || *r.CPUs[0].MovedTo == 3 {
		t.Errorf("ended by %q, moved to %v", r.EndedBy, r.CPUs[0].MovedTo)
	}
}

// smiProgram makes SMIs on the CPU that it runs on.
const smiProgram = "/bin/smi"

// SMIs are counted on the CPU that has them. That is CPU 0: QEMU's firmware handles them
// there, and others would not come back.
func TestGuestSMIs(t *testing.T) {
	const where, smis = 0, 20
	useClock(t, true)
	m := startNoise(t, "-d", "5s", "-c", "0,3", "-H", "1")
	c := exec.Command(smiProgram, fmt.Sprint(where), fmt.Sprint(smis))
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("making SMIs: %v: %s", err, out)
	}
	r := m.end(t, 0)
	for _, cpu := range r.CPUs {
		want := uint64(0)
		if cpu.CPU == where {
			want = smis
		}
		if cpu.SMIs == nil || *cpu.SMIs != want {
			t.Errorf("CPU %d had %d SMIs; counted: %s", cpu.CPU, want, smiCount(cpu.SMIs))
		}
	}
}

func smiCount(n *uint64) string {
	if n == nil {
		return "not at all"
	}
	return fmt.Sprint(*n)
}

// benchProgram is the command bench, noiseVariable holds its flags, and benchedMark
// stands before what it wrote.
const (
	benchProgram  = "/bin/bench"
	noiseVariable = "TASKISO_BENCH_NOISE"
	benchedMark   = "measured: "
)

// What "make bench-noise" measures on the machine itself, on an isolated CPU.
func TestGuestPeersOfNoise(t *testing.T) {
	file := t.TempDir() + "/noise.json"
	args := []string{"noise", "-taskiso", guestProgram, "-cpu", "3", "-other", "0", "-o", file}
	c := exec.Command(benchProgram, append(args, strings.Fields(os.Getenv(noiseVariable))...)...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var line bytes.Buffer
	if err := json.Compact(&line, text); err != nil {
		t.Fatal(err)
	}
	t.Log(benchedMark + line.String())
}
