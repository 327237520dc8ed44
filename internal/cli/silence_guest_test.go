// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/bench/peers"
	"github.com/taskiso/taskiso/internal/emulator"
	"github.com/taskiso/taskiso/internal/topology"
)

// silenceVariable holds how long the CPU is observed each time.
const silenceVariable = "TASKISO_TEST_SILENCE"

const (
	attachTime = 25 * time.Second // what the slowest observer takes in an emulated machine
	settleTime = 3 * time.Second
	pace       = 10 * time.Millisecond
	// Interrupts in a minute that are nobody's doing and can fall into any.
	strayInterrupts = 2
)

// silence is what came of the time under an observer. It is sent to the host.
type silence struct {
	Observer   string
	Interrupts map[string]int // by row of /proc/interrupts
	Syscalls   int            // recorded by the observer
	Err        string         // why it was not measured
}

// nothing and waking are observers that are none, and that none should be like.
const (
	nothing = "nothing"
	waking  = "a ring buffer that wakes its reader"
)

// silenceMark stands before what was measured.
const silenceMark = "silence: "

// Observing an isolated CPU, with events coming and being read, interrupts it no
// more than leaving it alone. Peers that can do comparable work are shown beside
// it, and an observer that wakes its reader, as none should, shows that this
// test would notice.
func TestGuestSilence(t *testing.T) {
	observedTime, err := time.ParseDuration(os.Getenv(silenceVariable))
	if err != nil {
		t.Fatal(err)
	}
	switchOffDeadlineServer(t)
	if err := moveAllThreads(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	ours := peers.Taskiso(guestProgram, victimCPU)
	wakes := peers.Observer{
		Name: waking, CPU: victimCPU, Command: []string{"/proc/self/exe"}, Env: []string{wakingVariable + "=1"},
		Recorded: func(dir string, _ peers.Event) (int, error) {
			text, err := os.ReadFile(filepath.Join(dir, waking))
			return bytes.Count(text, []byte("\n")), err // a line for each
		},
	}
	measure := func() map[string]int {
		// While the victim spins, switching tracepoints takes long where one thread
		// emulates all CPUs: so observers attach before it begins.
		_, stop := startPacedVictim(t)
		defer stop()
		time.Sleep(settleTime)
		return interruptsWhile(t, func() { time.Sleep(observedTime) })
	}
	results := []silence{{Observer: nothing, Interrupts: measure()}}
	for _, o := range append([]peers.Observer{ours, wakes}, peers.Of(victimCPU, peers.Want{})...) {
		r := silence{Observer: o.Name}
		recording, err := o.During(dir, attachTime, peers.SystemCall, func() { r.Interrupts = measure() })
		r.Syscalls = recording.Events
		if err != nil {
			r.Err = err.Error()
		}
		results = append(results, r)
		_ = os.WriteFile("/dev/kmsg", fmt.Appendf(nil, "silence: %+v", r), 0) // progress, on the console
	}
	line, err := json.Marshal(results)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(silenceMark + string(line))

	control, want := results[0], int(observedTime/pace)/4 // an emulated CPU's speed varies
	if r := results[1]; r.Err != "" {
		t.Error(r.Err)
	} else if more := total(r.Interrupts) - total(control.Interrupts); more > strayInterrupts || r.Syscalls < want {
		t.Errorf("observed, with %d system calls seen, the CPU was interrupted %d times more", r.Syscalls, more)
	}
	if r := results[2]; r.Err != "" {
		t.Error(r.Err)
	} else if more := total(r.Interrupts) - total(control.Interrupts); more < want/2 {
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

// pacedVariable makes the test binary the paced victim.
const pacedVariable = "TASKISO_TEST_PACED"

// pacedCalls is after how many system calls the paced victim says so, once.
const pacedCalls = 100

// startPacedVictim starts a process that spins on the victim's CPU and makes a
// system call now and then, and returns what waits until it has made pacedCalls,
// and what ends it.
func startPacedVictim(t *testing.T) (called, stop func()) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = append(os.Environ(), pacedVariable+"=1", "GODEBUG=asyncpreemptoff=1", "GOGC=off")
	c.Stderr = os.Stderr
	said, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	called = func() {
		if _, err := said.Read(make([]byte, 1)); err != nil {
			t.Fatalf("waiting for %d calls of the victim: %v", pacedCalls, err)
		}
	}
	return called, func() {
		c.Process.Kill()
		c.Wait()
	}
}

func bePaced() {
	runtime.LockOSThread()
	err := moveAllThreads()
	if err == nil {
		err = setAffinity(0)
	}
	if err != nil {
		panic(err)
	}
	// It counts, and does not look at a clock: where the kernel distrusts the
	// time-stamp counter that is a system call as well.
	const some, turn = 1 << 20, 1 << 14
	begin := time.Now()
	for range some {
		sink++
	}
	rounds := int(some * pace / time.Since(begin))
	for calls := 1; ; calls++ {
		for range rounds / turn {
			for range turn {
				sink++
			}
			emulator.Yield()
		}
		unix.RawSyscall(unix.SYS_GETPPID, 0, 0, 0)
		if calls == pacedCalls {
			newline := []byte{'\n'}
			unix.RawSyscall(unix.SYS_WRITE, 1, uintptr(unsafe.Pointer(&newline[0])), 1)
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
	interrupted := make(chan os.Signal, 1) // which the guest's init ignores, and so do its children
	signal.Notify(interrupted, os.Interrupt)
	go func() {
		<-interrupted
		os.Exit(0)
	}()
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
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
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
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "sys_enter", Program: program})
	if err != nil {
		return err
	}
	defer l.Close()
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
