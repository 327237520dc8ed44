// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/peers"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

const (
	observedTime = 60 * time.Second
	attachTime   = 15 * time.Second // what the slowest observer takes in an emulated machine
	pace         = 10 * time.Millisecond
	// Interrupts in a minute that are nobody's doing and can fall into any.
	strayInterrupts = 2
)

// silence is what came of a minute under an observer.
type silence struct {
	observer   string
	interrupts map[string]int // by row of /proc/interrupts
	syscalls   int            // recorded by the observer
	err        error          // why it was not measured
}

// Observing an isolated CPU, with events coming and being read, interrupts it no
// more than leaving it alone. Peers that can do comparable work are shown beside
// it, and an observer that wakes its reader, as none should, shows that this
// test would notice.
func TestGuestSilence(t *testing.T) {
	switchOffDeadlineServer(t)
	if err := moveAllThreads(); err != nil {
		t.Fatal(err)
	}
	startPacedVictim(t)
	dir := t.TempDir()
	ours := peers.Observer{
		Name: "taskiso watch", Command: []string{guestProgram, "watch", "-q", "-c", fmt.Sprint(victimCPU), "--report", "taskiso.json"},
		Syscalls: reportedSyscalls,
	}
	waking := peers.Observer{
		Name: "waking ring buffer", Command: []string{"/proc/self/exe"}, Env: []string{wakingVariable + "=1"},
		Syscalls: peers.Printed("waking ring buffer"),
	}
	results := []silence{{observer: "nothing", interrupts: interruptsWhile(t, func() { time.Sleep(observedTime) })}}
	for _, o := range append([]peers.Observer{ours, waking}, peers.Of(victimCPU, false)...) {
		r := silence{observer: o.Name}
		r.syscalls, r.err = o.During(dir, attachTime, func() {
			r.interrupts = interruptsWhile(t, func() { time.Sleep(observedTime) })
		})
		results = append(results, r)
		_ = os.WriteFile("/dev/kmsg", fmt.Appendf(nil, "silence: %+v", r), 0) // progress, on the console
	}
	t.Log(silenceTable(results))

	control, want := results[0], int(observedTime/pace)*9/10
	if r := results[1]; r.err != nil {
		t.Error(r.err)
	} else if more := total(r.interrupts) - total(control.interrupts); more > strayInterrupts || r.syscalls < want {
		t.Errorf("observed, with %d system calls seen, the CPU was interrupted %d times more", r.syscalls, more)
	}
	if r := results[2]; r.err != nil {
		t.Error(r.err)
	} else if more := total(r.interrupts) - total(control.interrupts); more < want/4 {
		t.Errorf("waking the reader interrupted the CPU only %d times more: this test would notice nothing", more)
	}
	checkNoOriginIsOurs(t, filepath.Join(dir, "taskiso.json"))
}

// What interrupts an isolated CPU on its own is no observer's doing.
func switchOffDeadlineServer(t *testing.T) {
	server := fmt.Sprintf("/sys/kernel/debug/sched/fair_server/cpu%d/runtime", victimCPU)
	if err := os.WriteFile(server, []byte("0"), 0); err != nil {
		t.Logf("no deadline server to switch off: %v", err)
	}
}

// startPacedVictim starts a process that spins on the victim's CPU and makes a
// system call whenever this one says so in memory that they share. It does not
// look at a clock: where the kernel distrusts the time-stamp counter, that is a
// system call as well.
func startPacedVictim(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pace")
	if err := os.WriteFile(file, make([]byte, os.Getpagesize()), 0o600); err != nil {
		t.Fatal(err)
	}
	beat, err := mapPace(file)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), pacedVariable+"="+file, "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ticker := time.NewTicker(pace)
	go func() {
		for range ticker.C {
			beat.Add(1)
		}
	}()
	t.Cleanup(func() {
		ticker.Stop()
		c.Process.Kill()
		c.Wait()
	})
}

// pacedVariable makes the test binary the paced victim: it names the shared file.
const pacedVariable = "TASKISO_TEST_PACED"

func mapPace(file string) (*atomic.Uint32, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return nil, err
	}
	return (*atomic.Uint32)(unsafe.Pointer(&m[0])), nil
}

func bePaced(file string) {
	runtime.LockOSThread()
	beat, err := mapPace(file)
	if err == nil {
		err = moveAllThreads()
	}
	var cpus cpulist.Set
	if err == nil {
		cpus, err = cpulist.New(victimCPU)
	}
	if err == nil {
		err = launch.SetAffinity(0, cpus)
	}
	if err != nil {
		panic(err)
	}
	for last := beat.Load(); ; {
		if now := beat.Load(); now != last {
			last = now
			unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		}
	}
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
		if n, ok := diff.Count(row.Name, victimCPU); ok && n > 0 {
			counts[row.Name] = int(n)
		}
	}
	return counts
}

func total(counts map[string]int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// reportedSyscalls counts the system calls in taskiso's report.
func reportedSyscalls(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "taskiso.json"))
	if err != nil {
		return 0, err
	}
	var r report.Report
	if err := json.Unmarshal(text, &r); err != nil {
		return 0, err
	}
	n := 0
	for _, c := range r.CPUs[0].Causes {
		if c.ID == "syscall" {
			n += int(c.Count)
		}
	}
	return n, nil
}

func silenceTable(results []silence) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "observer\tsystem calls recorded\tinterrupts of CPU %d in %v\tby row of /proc/interrupts\n", victimCPU, observedTime)
	for _, r := range results {
		if r.err != nil {
			fmt.Fprintf(w, "%s\tnot measured: %v\n", r.observer, r.err)
			continue
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%v\n", r.observer, r.syscalls, total(r.interrupts), r.interrupts)
	}
	w.Flush()
	return b.String()
}

// checkNoOriginIsOurs checks that no break was sent by taskiso.
func checkNoOriginIsOurs(t *testing.T, file string) {
	t.Helper()
	for _, c := range readReport(t, file).CPUs[0].Causes {
		t.Logf("%d × %s", c.Count, c.Title)
		for _, o := range c.Origins {
			if o.Name == "taskiso" && !o.Interrupt {
				t.Errorf("%s: caused by taskiso: %+v", c.ID, o)
			}
		}
	}
}

// wakingVariable makes the test binary an observer that wakes its reader with
// each system call. It records nothing else: its wake-ups are interrupts, and if
// those were recorded and woke it again, that would never end.
const wakingVariable = "TASKISO_TEST_WAKING"

func beWaking() error {
	buffer, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 1 << 16})
	if err != nil {
		return err
	}
	const forceWakeup = 1 << 1 // BPF_RB_FORCE_WAKEUP of include/uapi/linux/bpf.h
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.RawTracepoint,
		License: "GPL",
		Instructions: asm.Instructions{
			asm.FnGetSmpProcessorId.Call(),
			asm.JNE.Imm(asm.R0, victimCPU, "end"),
			asm.StoreImm(asm.RFP, -8, 0, asm.DWord),
			asm.LoadMapPtr(asm.R1, buffer.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.Mov.Imm(asm.R3, 8),
			asm.Mov.Imm(asm.R4, forceWakeup),
			asm.FnRingbufOutput.Call(),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
			asm.Return(),
		},
	})
	if err != nil {
		return err
	}
	if _, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: program}); err != nil {
		return err
	}
	reader, err := ringbuf.NewReader(buffer)
	if err != nil {
		return err
	}
	for {
		if _, err := reader.Read(); err != nil {
			return err
		}
		fmt.Println("sys_enter")
	}
}
