// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

// runProgram runs taskiso and returns its report, its exit status and what it printed. It checks that a recording of the run
// gives the same report.
func runProgram(t *testing.T, args ...string) (report.Report, int, string) {
	t.Helper()
	dir := t.TempDir()
	file, recording := filepath.Join(dir, "report.json"), filepath.Join(dir, "run.rec")
	args = append(args[:1:1], append([]string{"--report", file, "--record", recording}, args[1:]...)...)
	c := exec.Command(guestProgram, args...)
	out, err := c.CombinedOutput()
	if err != nil && c.ProcessState == nil {
		t.Fatalf("running taskiso %q: %v", args, err)
	}
	r := readReport(t, file)
	if r.Tracing {
		checkRecording(t, guestProgram, recording, file)
	} else if _, err := os.Stat(recording); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing was seen, and there is a recording: %v", err)
	}
	return r, c.ProcessState.ExitCode(), string(out)
}

func readReport(t *testing.T, file string) report.Report {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("parsing report %s: %v", file, err)
	}
	return r
}

// What taskiso shows of an isolated CPU is what the kernel has counted there.
func TestGuestBusyLoopAgreesWithTheKernel(t *testing.T) {
	r, code, out := runProgram(t, "run", "-c", "3", "-d", "10s", "--warm-up", "2s")
	t.Log(out)
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
	if len(r.CPUs) != 1 || r.CPUs[0].CPU != 3 || !r.CPUs[0].Complete {
		t.Fatalf("want complete observation of CPU 3, got %+v", r.CPUs)
	}
	cpu := r.CPUs[0]
	if r.Lost.Events+cpu.Preempted > 0 {
		t.Errorf("lost %+v, preempted %d times", r.Lost, cpu.Preempted)
	}
	// A tick would break it 2,500 times at 250 Hz. What is left on newer kernels
	// are the deadline server (6.8 and later) and the clocksource watchdog.
	if cpu.Breaks > 50 {
		t.Errorf("%d breaks in 10 s on an isolated CPU", cpu.Breaks)
	}
	if both := cpu.User + cpu.Kernel; both < 9670*time.Millisecond {
		t.Errorf("%v in user mode and %v in the kernel, of 10 s", cpu.User, cpu.Kernel)
	}
	// The loop notices each break as a gap, unless it is shorter than its threshold.
	// What the emulator takes from it comes on top.
	if len(r.Loop) != 1 || cpu.Kernel > r.Loop[0].Total+time.Duration(cpu.Breaks)*r.Loop[0].Threshold {
		t.Fatalf("%v in the kernel in %d breaks, more than the loop was stopped: %+v", cpu.Kernel, cpu.Breaks, r.Loop)
	}
	checkYields(t, r.Loop[0].YieldsEvery, r.Limits)
	if cpu.Interrupts == nil || !cpu.Interrupts.Exact {
		t.Fatalf("interrupts not compared exactly: %+v", cpu.Interrupts)
	}
	checkInterrupts(t, cpu.Interrupts)
}

// checkYields checks that a loop yields to an emulator, and nobody else, and that the report says so.
func checkYields(t *testing.T, every uint64, limits []string) {
	t.Helper()
	cpus, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	// What QEMU's model "max" is called, if it is emulated, on amd64 and on arm64.
	emulated := strings.Contains(string(cpus), "QEMU TCG") || strings.Contains(string(cpus), "CPU implementer\t: 0x00\n")
	if said := slices.Contains(limits, noise.YieldLimit()); said != emulated || every != 0 != emulated {
		t.Errorf("emulated: %t, the loop yields every %d readings, limits %q", emulated, every, limits)
	}
}

// checkInterrupts checks that each row was compared, or says why not, and that
// the two counts differ by no more than came while they were read.
func checkInterrupts(t *testing.T, in *report.Interrupts) {
	t.Helper()
	for _, row := range in.Rows {
		switch {
		case row.Seen == nil && row.Reason == "":
			t.Errorf("%s: not compared for no reason", row.Name)
		case row.Differ():
			t.Errorf("%s: the kernel counted %d, taskiso saw %d, they may differ by %d", row.Name, row.Kernel, *row.Seen, row.MayDiffer)
		}
	}
}

// The same on a CPU that ticks: an interrupt can come while the counts are read.
func TestGuestTickingCPUAgreesWithTheKernel(t *testing.T) {
	r, _, out := runProgram(t, "run", "-c", "1", "-d", "2s")
	t.Log(out)
	if len(r.CPUs) != 1 || r.CPUs[0].Complete || r.CPUs[0].Interrupts == nil {
		t.Fatalf("want an observation of CPU 1 without proof of completeness, got %+v", r.CPUs)
	}
	cpu := r.CPUs[0]
	checkInterrupts(t, cpu.Interrupts)
	if len(cpu.Causes) == 0 || cpu.Causes[0].ID != "tick" || cpu.Causes[0].Count < 200 {
		t.Errorf("want more than 200 ticks in 2 s as the first cause, got %+v", cpu.Causes)
	}
	if cpu.Verdict != report.VerdictDisturbed || len(r.Limits) == 0 {
		t.Errorf("verdict %q, limits %q", cpu.Verdict, r.Limits)
	}
}

func TestGuestOfflineCPUIsRefused(t *testing.T) {
	const online = "/sys/devices/system/cpu/cpu1/online"
	writeFile(t, online, "0")
	defer writeFile(t, online, "1")
	out, err := exec.Command(guestProgram, "run", "-c", "1", "--", "/bin/touch", "/tmp/ran").CombinedOutput()
	if got, want := string(out), "taskiso: CPU 1 is offline\n"; got != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
		t.Errorf("got %v, want exit status %d", err, exitUsage)
	}
}

// Without the kernel's type information nothing can be traced, but the command
// runs and the report says why nothing was seen.
func TestGuestWithoutBTF(t *testing.T) {
	const btf = "/sys/kernel/btf"
	if err := unix.Mount("none", btf, "tmpfs", 0, ""); err != nil {
		t.Fatalf("hiding %s: %v", btf, err)
	}
	defer unix.Unmount(btf, 0)
	r, code, out := runProgram(t, "run", "-c", "3", "-d", "1s")
	t.Log(out)
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
	if r.Tracing || len(r.Loop) != 1 || r.Loop[0].Ran < 900*time.Millisecond {
		t.Errorf("tracing %v, loop %+v", r.Tracing, r.Loop)
	}
	if len(r.Limits) == 0 || !strings.Contains(r.Limits[0], "type information") {
		t.Errorf("the report does not say that the kernel's type information is missing: %q", r.Limits)
	}
}

// Everything of ours is gone after SIGKILL: programs, and the busy loop.
func TestGuestNothingRemainsAfterSIGKILL(t *testing.T) {
	before := programs(t)
	c := exec.Command(guestProgram, "run", "-c", "3")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the busy loop spins", func() bool { return len(programs(t)) > len(before) && loops(t) > 0 })
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	eventually(t, "the busy loop and the programs are gone", func() bool { return len(programs(t)) == len(before) && loops(t) == 0 })
}

// programs returns the numbers of all BPF programs.
func programs(t *testing.T) []ebpf.ProgramID {
	t.Helper()
	var ids []ebpf.ProgramID
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return ids
		}
		if err != nil {
			t.Fatal(err)
		}
		ids, id = append(ids, next), next
	}
}

// loops returns how many busy loops run.
func loops(t *testing.T) int {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(text), loop.Name) {
			n++
		}
	}
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	const limit = 5 * time.Minute // attaching patches code, which takes long under emulation beside others
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", limit, what)
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0); err != nil {
		t.Fatal(err)
	}
}

// backtracesOfVictim is how many interrupts the kernel has counted by which the isolated CPU was to print where it is: NMIs, and on
// arm64 an IPI that context tracking sees.
func backtracesOfVictim(t *testing.T) uint64 {
	t.Helper()
	table, err := topology.Interrupts(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range table.Rows {
		if row.Name == "NMI" || row.Description == "CPU backtrace interrupts" {
			n, _ := table.Count(row.Name, victimCPU)
			return n
		}
	}
	t.Fatal("/proc/interrupts has no row of backtraces")
	return 0
}

// Every kernel entry on a nohz_full CPU is a break in the report: there are as
// many as context tracking and the NMIs, which it does not see, say.
func TestGuestBreaksAreAllKernelEntries(t *testing.T) {
	w := startWatch(t) // before anything runs there: attaching takes long then
	called, stop := startPacedVictim(t)
	called()
	for range 3 {
		before := backtracesOfVictim(t)
		writeFile(t, "/proc/sysrq-trigger", "l")
		eventually(t, "the CPU was asked for a backtrace", func() bool { return backtracesOfVictim(t) > before })
	}
	stop()
	r, _, out := w.stop(t)
	if len(r.CPUs) != 1 || !r.CPUs[0].Complete || r.Lost.Events > 0 {
		t.Fatalf("want complete observation of CPU 3, got\n%s", out)
	}
	seen := make(map[string]uint64)
	for _, e := range r.CPUs[0].Events {
		seen[e.Name] = e.Seen
	}
	exits, nmis, ipis := seen["user_exit"], seen["nmi_handler"], seen["ipi_entry"]
	t.Logf("%d breaks; %d exits of user mode, %d NMIs, %d other IPIs", r.CPUs[0].Breaks, exits, nmis, ipis)
	if exits < pacedCalls || nmis+ipis == 0 {
		t.Errorf("want %d or more exits of user mode and backtraces, got %d and %d", pacedCalls, exits, nmis+ipis)
	}
	// The victim does not return from its last exit, and an NMI can come while it
	// is in the kernel.
	if n := r.CPUs[0].Breaks; n > exits+nmis || n+1+nmis < exits+nmis {
		t.Errorf("%d breaks, but %d exits of user mode and %d NMIs", n, exits, nmis)
	}
}
