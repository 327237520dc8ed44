// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// provocation is a real operation that breaks the isolation of a CPU, and how
// the break must be shown.
type provocation struct {
	name string
	do   func(v *victim) error // on the housekeeping CPU
	// cause is the id of the break; of several if kernels differ.
	cause []string
	// sender is in the name of a function on the stack of an origin, and from
	// its process; empty if nobody sends it.
	sender, from string
}

// self is the name of the victim's process, which is its guest's init program.
const self = "init"

// errCannot says that this kernel or machine cannot do a provocation. It is
// listed; any other error fails the test.
var errCannot = errors.New("cannot be done here")

func cannot(err error) error { return fmt.Errorf("%w: %w", errCannot, err) }

var provocations = []provocation{
	// by a thread of the same process
	{"munmap", onMapping(func(m []byte) error { return unix.Munmap(m) }), []string{"ipi-tlb-user"}, "munmap", self},
	{"mprotect", onMapping(func(m []byte) error { return unix.Mprotect(m, unix.PROT_READ) }), []string{"ipi-tlb-user"}, "mprotect", self},
	{"madvise(DONTNEED)", onMapping(func(m []byte) error { return unix.Madvise(m, unix.MADV_DONTNEED) }), []string{"ipi-tlb-user"}, "madvise", self},
	{"mremap", onMapping(func(m []byte) error {
		_, err := unix.Mremap(m, 2*len(m), unix.MREMAP_MAYMOVE)
		return err
	}), []string{"ipi-tlb-user"}, "mremap", self},
	{"mmap over a mapping", onMapping(func(m []byte) error {
		_, err := unix.MmapPtr(-1, 0, unsafe.Pointer(&m[0]), uintptr(len(m)), unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED)
		return err
	}), []string{"ipi-tlb-user"}, "mmap", self},
	{"pkey_mprotect", onMapping(func(m []byte) error {
		return call(unix.SYS_PKEY_MPROTECT, uintptr(unsafe.Pointer(&m[0])), uintptr(len(m)), unix.PROT_READ, ^uintptr(0))
	}), []string{"ipi-tlb-user"}, "pkey_mprotect", self},
	{"fork", onMapping(func([]byte) error { return fork() }), []string{"ipi-tlb-user"}, "kernel_clone", self},
	{"collapse to a huge page", func(*victim) error { return collapse() }, []string{"ipi-page-table-collapse", "ipi-tlb-user"}, "madvise", self},
	{"membarrier", membarrier(registerPrivateExpedited, privateExpedited), []string{"ipi-membarrier"}, "membarrier", self},
	{"membarrier for code", membarrier(registerPrivateSyncCoreExpedited, privateSyncCoreExpedited), []string{"ipi-membarrier"}, "membarrier", self},
	{"membarrier for rseq", membarrier(registerPrivateRseqExpedited, privateRseqExpedited), []string{"ipi-membarrier"}, "membarrier", self},
	{"membarrier of all", membarrier(registerGlobalExpedited, globalExpedited), []string{"ipi-membarrier"}, "membarrier", self},
	{"clear_refs", func(*victim) error { return os.WriteFile("/proc/self/clear_refs", []byte("4"), 0) }, []string{"ipi-tlb-user-proc"}, "clear_refs_write", self},
	{"merging of equal pages", mergePages, []string{"ipi-tlb-user-ksm"}, "ksm", "ksmd"},
	{"swapon", func(*victim) error { return swapOn() }, []string{"task-hotplug-swap"}, "swapon", self},
	{"swap-out", swapOut, []string{"ipi-tlb-user-reclaim", "ipi-tlb-user"}, "madvise", self},
	{"memory policy migration", movePages, []string{"ipi-tlb-user-migration"}, "migrate_pages", self},
	{"modify_ldt", func(*victim) error { return modifyLDT() }, []string{"ipi-process-attribute"}, "ldt", self},

	// by the task itself
	{"getppid", onVictim(func() error { unix.Getppid(); return nil }), []string{"syscall"}, "", ""},
	{"nanosleep", onVictim(func() error { return unix.Nanosleep(&unix.Timespec{Nsec: 1000}, nil) }), []string{"syscall"}, "", ""},
	{"timerfd", onVictim(timerfd), []string{"syscall"}, "", ""}, // the timer itself expires on a housekeeping CPU
	{"first touch, write", onVictim(touch(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, true)), []string{"page-fault"}, "", ""},
	{"first touch, read", onVictim(touch(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, false)), []string{"page-fault"}, "", ""},
	{"first touch, shared", onVictim(touch(unix.MAP_SHARED|unix.MAP_ANONYMOUS, true)), []string{"page-fault"}, "", ""},
	{"file page, read", func(v *victim) error { return v.touchFile(false, unix.MAP_SHARED) }, []string{"page-fault"}, "", ""},
	{"file page, write to shared", func(v *victim) error { return v.touchFile(true, unix.MAP_SHARED) }, []string{"page-fault"}, "", ""},
	{"file page, copy on write", func(v *victim) error { return v.touchFile(true, unix.MAP_PRIVATE) }, []string{"page-fault"}, "", ""},
	{"write after fork", func(v *victim) error { return v.writeAfterFork() }, []string{"page-fault-protected", "page-fault"}, "", ""},
	{"write to the zero page", func(v *victim) error { return v.writeToZeroPage() }, []string{"page-fault-protected", "page-fault"}, "", ""},
	{"general protection fault", onVictim(protectionFault), []string{"exception-signal"}, "", ""},

	{"split lock", splitLock, []string{"split-lock"}, "", ""},

	// by another process
	{"second task", func(v *victim) error { return v.helper("run there", unix.SCHED_NORMAL) }, []string{"task-user", "timer-hrtick"}, "", ""},
	{"real-time task", func(v *victim) error { return v.helper("run there", unix.SCHED_FIFO) }, []string{"task-user", "stopper-affinity", "stopper"}, "", ""},
	{"task set on the CPU", foreignTask(setAffinity), []string{"task-user"}, "sched_setaffinity", self},
	{"task moved by cgroup", foreignTask(moveToCpuset), []string{"task-user"}, "cgroup", self},
	{"signal", func(v *victim) error { return unix.Tgkill(unix.Getpid(), v.tid, unix.SIGURG) }, []string{"signal-go-preemption", "signal"}, "tgkill", self},
	{"stop and continue", func(v *victim) error { return v.helper("stop and continue") }, []string{"away-stopped"}, "", ""},
	{"ptrace", func(v *victim) error { return v.helper("ptrace") }, []string{"away-traced"}, "ptrace", self},
	{"breakpoint of a debugger", breakpoint, []string{"away-traced"}, "", ""},
	{"frozen cgroup", func(v *victim) error { return v.helper("freeze") }, []string{"away-frozen"}, "", ""},
	{"CPU quota", func(v *victim) error { return v.helper("limit by quota") }, []string{"away-throttled"}, "", ""},
	{"move to another cgroup", func(v *victim) error { return v.helper("move to cgroup") }, []string{"ipi-cgroup-move", "ipi-cgroup-reschedule"}, "cgroup", self},
	{"uprobe on its program", func(v *victim) error { return v.helper("set uprobe", funcAddress(debugged)) }, []string{"ipi-tlb-user-uprobe"}, "uprobe", self},
	{"seccomp filter of another process", filterSystemCalls, nil, "", ""},
	{"write to its memory", func(v *victim) error { return v.writtenFromOutside() }, []string{"ipi-tlb-user-foreign"}, "access_remote_vm", self},
	{"perf on the CPU", func(*victim) error { return perf(-1, victimCPU) }, []string{"ipi-perf"}, "perf_event_open", self},
	{"perf on the thread", func(v *victim) error { return perf(v.tid, -1) }, []string{"ipi-perf"}, "perf_event_open", self},

	{"perf by frequency", sampleByFrequency, []string{"tick-perf"}, "", ""},

	// by the administrator
	{"module", loadModule, []string{"ipi-text-patching-module", "ipi-tlb-kernel"}, "module", self},
	{"drop_caches", afterTouching("drop_caches"), []string{"work-lru-drain"}, "drop_caches", self},
	{"compact_memory", afterTouching("compact_memory"), []string{"work-lru-drain"}, "compact", self},
	{"clock step", stepClock, []string{"ipi-clock-set"}, "clock_settime", self},
	{"expedited RCU", expeditedRCU, []string{"ipi-rcu-expedited"}, "", ""},
	{"packet timestamps", func(*victim) error { return timestamps() }, []string{"ipi-text-patching-timestamps", "ipi-text-patching-static-key"}, "", ""},
	{"UDP encapsulation", func(*victim) error { return encapsulation() }, []string{"ipi-text-patching-static-key"}, "setsockopt", self},
	{"schedstats", sysctl("kernel/sched_schedstats"), []string{"ipi-text-patching-static-key"}, "ksys_write", self},
	{"delay accounting", sysctl("kernel/task_delayacct"), []string{"ipi-text-patching-static-key"}, "ksys_write", self},
	{"BPF statistics", sysctl("kernel/bpf_stats_enabled"), []string{"ipi-text-patching-static-key"}, "ksys_write", self},
	{"BPF attach", func(*victim) error { return attachBPF() }, []string{"ipi-text-patching-bpf"}, "bpf", self},
	{"trace event", func(*victim) error { return toggle("/sys/kernel/tracing/events/task/task_rename/enable") }, []string{"ipi-text-patching-tracing"}, "ksys_write", self},
	{"kprobe", func(*victim) error { return kprobe() }, []string{"ipi-text-patching-kprobe", "ipi-text-patching-tracing"}, "write", self},
	{"function tracer", func(*victim) error { return functionTracer() }, []string{"ipi-text-patching-tracing"}, "ksys_write", self},
	{"stat_refresh", func(*victim) error { _, err := os.ReadFile("/proc/sys/vm/stat_refresh"); return err }, []string{"work-vmstat-refresh"}, "vmstat_refresh", self},
	{"overcommit", overcommit, []string{"work-overcommit"}, "overcommit_policy_handler", self},
	{"trace buffer resize", func(*victim) error { return resizeTraceBuffer() }, []string{"work-ring-buffer"}, "ksys_write", self},
	{"slab shrink", func(*victim) error { return shrinkSlabs() }, []string{"work-slab"}, "ksys_write", self},
	{"function tracing by sysctl", func(*victim) error { return switchFunctionTracing() }, []string{"ipi-text-patching-tracing"}, "ftrace_enable_sysctl", self},
	{"memory-type register", func(*victim) error { return setMemoryType() }, []string{"stopper-memory-types"}, "mtrr", self},
	{"CPU offline", func(*victim) error { return setOnline("0") }, []string{"stopper-hotplug"}, "", ""},
	{"CPU online", func(*victim) error { return setOnline("1") }, []string{"stopper", "stopper-memory-types"}, "", ""}, // by a CPU on which tracepoints do not work yet
	{"backtrace of all CPUs", func(*victim) error { return os.WriteFile("/proc/sysrq-trigger", []byte("l"), 0) }, []string{"nmi-backtrace"}, "", ""},
	{"moved interrupt", func(*victim) error { return moveInterrupt() }, []string{"irq"}, "", ""},
	{"interrupt moved away", func(*victim) error { return moveInterruptAway() }, []string{"irq-moved-away", "timer-irq-moved-away"}, "", ""},
	{"MSR read", func(*victim) error { return readMSR() }, []string{"ipi-msr"}, "", ""},

	// last, because the worker stays for a while, and the tick for ever
	{"io_uring worker", asyncIO, []string{"task-io-uring", "task-process-worker", "timer-hrtick"}, "", ""}, // it has its parent's name until it runs
	{"limit of CPU time", func(*victim) error {
		limit := unix.Rlimit{Cur: 100000, Max: unix.RLIM_INFINITY}
		return unix.Setrlimit(unix.RLIMIT_CPU, &limit)
	}, []string{"tick-posix-timer"}, "", ""},
}

// What docs/causes.md says was provoked is every provocation, each with what came
// of it: "make provocations" was run since the table changed, and found them all.
func TestProvocationsAreDocumented(t *testing.T) {
	documented, err := cause.Provoked()
	if err != nil {
		t.Fatal(err)
	}
	if len(documented) != len(provocations) {
		t.Errorf("%d provocations documented, %d in the table: run make provocations", len(documented), len(provocations))
	}
	for i, p := range documented {
		if i >= len(provocations) || provocations[i].name != p.Name {
			t.Fatalf("provocation %d is %q in provoked.json: run make provocations", i, p.Name)
		}
		if len(p.Kernels) < len(debian.Suites()) {
			t.Errorf("%s: outcomes on %v, want one for each of %v", p.Name, slices.Sorted(maps.Keys(p.Kernels)), debian.Suites())
		}
		for kernel, o := range p.Kernels {
			if o.Cause == "" && o.Reason == "" {
				t.Errorf("%s on %s: neither found nor explained", p.Name, kernel)
			}
			if o.Cause != "" && !slices.Contains(provocations[i].cause, o.Cause) {
				t.Errorf("%s on %s: %s is not what the table wants", p.Name, kernel, o.Cause)
			}
		}
	}
}

func call(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, errno := unix.Syscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 {
		return errno
	}
	return nil
}

// onMapping runs f with a mapping whose pages this thread has touched, three
// times: what arrives while the victim is in the kernel is no break of its own.
func onMapping(f func(m []byte) error) func(*victim) error {
	return func(*victim) error {
		for range 3 {
			m, err := unix.Mmap(-1, 0, 64<<10, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
			if err != nil {
				return err
			}
			for i := 0; i < len(m); i += os.Getpagesize() {
				m[i] = 1
			}
			if err := f(m); err != nil {
				return err
			}
			time.Sleep(settle / 2)
		}
		return nil
	}
}

// onVictim runs f on the spinning thread.
func onVictim(f func() error) func(*victim) error {
	return func(v *victim) (err error) {
		v.on(func() { err = f() })
		return err
	}
}

func fork() error {
	pid, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	switch {
	case errno != 0:
		return errno
	case pid == 0: // nothing of Go's runtime works in the child
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
		}
	}
	_, err := unix.Wait4(int(pid), nil, 0, nil)
	return err
}

func collapse() error {
	const madvCollapse, size = 25, 2 << 20
	m, err := unix.Mmap(-1, 0, 2*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	if err := unix.Madvise(m, unix.MADV_NOHUGEPAGE); err != nil {
		return cannot(err)
	}
	for i := 0; i < len(m); i += os.Getpagesize() {
		m[i] = 1
	}
	if err := unix.Madvise(m, unix.MADV_HUGEPAGE); err != nil {
		return err
	}
	if err := unix.Madvise(m, madvCollapse); errors.Is(err, unix.EINVAL) {
		return cannot(err)
	} else if err != nil {
		return err
	}
	return nil
}

// Commands of membarrier(2), from include/uapi/linux/membarrier.h.
const (
	globalExpedited = 1 << (iota + 1)
	registerGlobalExpedited
	privateExpedited
	registerPrivateExpedited
	privateSyncCoreExpedited
	registerPrivateSyncCoreExpedited
	privateRseqExpedited
	registerPrivateRseqExpedited
)

func membarrier(register, command int) func(*victim) error {
	// MEMBARRIER_CMD_FLAG_CPU is not set: all CPUs of the process.
	return func(*victim) error {
		if err := call(unix.SYS_MEMBARRIER, uintptr(register)); err != nil {
			return cannot(err)
		}
		time.Sleep(10 * time.Millisecond) // registering interrupts as well
		return call(unix.SYS_MEMBARRIER, uintptr(command))
	}
}

func timerfd() error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, 0)
	if err != nil {
		return err
	}
	return unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.Timespec{Nsec: 20e6}}, nil)
}

var sink byte

func touch(flags int, write bool) func() error {
	return func() error {
		m, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, flags)
		if err != nil {
			return err
		}
		if write {
			m[0] = 1
		} else {
			sink = m[0]
		}
		return nil
	}
}

func (v *victim) touchFile(write bool, flags int) error {
	path := filepath.Join(v.dir, "page")
	if err := os.WriteFile(path, make([]byte, os.Getpagesize()), 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return err
	}
	v.on(func() {
		if write {
			m[0] = 1
		} else {
			sink = m[0]
		}
	})
	return nil
}

func (v *victim) writeAfterFork() error {
	m, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	m[0] = 1
	if err := fork(); err != nil {
		return err
	}
	v.on(func() { m[0] = 2 })
	return nil
}

func (v *victim) writeToZeroPage() error {
	m, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	sink = m[0]
	v.on(func() { m[0] = 2 })
	return nil
}

// protectionFault reads from an address that is not canonical, which is no page fault.
func protectionFault() error {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { _ = recover() }()
	address := uintptr(1) << 62
	sink = **(**byte)(unsafe.Pointer(&address))
	return errors.New("reading from a non-canonical address succeeded")
}

// writtenFromOutside has another process write to a page that is shared with
// the child of a fork, so that it must be copied and the old one flushed.
func (v *victim) writtenFromOutside() error {
	path := filepath.Join(v.dir, "mem")
	if err := os.WriteFile(path, make([]byte, os.Getpagesize()), 0o600); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil {
		return err
	}
	sink = m[0]
	return v.helper("write memory", uintptr(unsafe.Pointer(&m[0])))
}

func perf(tid, cpu int) error {
	attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_DUMMY, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{}))}
	fd, err := unix.PerfEventOpen(&attr, tid, cpu, -1, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func timestamps() error {
	if users, err := kernelInt("netstamp_needed_key"); err == nil && users > 0 {
		return cannot(fmt.Errorf("packets are stamped already, for %d users", users))
	}
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	if err != nil {
		return err
	}
	var set error
	if err := raw.Control(func(fd uintptr) { set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMP, 1) }); err != nil {
		return err
	}
	time.Sleep(300 * time.Millisecond) // a work item does it, unless the socket is closed by then
	return set
}

// toggle writes 1 and then 0 to a file.
func toggle(file string) error {
	for _, value := range []string{"1", "0"} {
		if err := os.WriteFile(file, []byte(value), 0); errors.Is(err, os.ErrNotExist) {
			return cannot(err)
		} else if err != nil {
			return err
		}
	}
	return nil
}

func sysctl(name string) func(*victim) error {
	return func(*victim) error { return toggle("/proc/sys/" + name) }
}

func attachBPF() error {
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.RawTracepoint,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
		License:      "GPL",
	})
	if err != nil {
		return err
	}
	defer program.Close()
	l, err := link.AttachRawTracepoint(link.RawTracepointOptions{Name: "task_rename", Program: program})
	if err != nil {
		return err
	}
	return l.Close()
}

func kprobe() error {
	const events = "/sys/kernel/tracing/kprobe_events"
	if err := os.WriteFile(events, []byte("p:taskiso_test do_sys_openat2"), 0); errors.Is(err, os.ErrNotExist) {
		return cannot(err)
	} else if err != nil {
		return err
	}
	if err := toggle("/sys/kernel/tracing/events/kprobes/taskiso_test/enable"); err != nil {
		return err
	}
	return os.WriteFile(events, nil, 0) // opening it for writing alone removes all
}

func functionTracer() error {
	const dir = "/sys/kernel/tracing/"
	if err := os.WriteFile(dir+"set_ftrace_filter", []byte("do_sys_openat2"), 0); err != nil {
		return cannot(err)
	}
	if err := os.WriteFile(dir+"current_tracer", []byte("function"), 0); err != nil {
		return cannot(err)
	}
	return os.WriteFile(dir+"current_tracer", []byte("nop"), 0)
}

// switchFunctionTracing switches the calls into a function tracer off and on.
func switchFunctionTracing() error {
	const dir = "/sys/kernel/tracing/"
	if err := os.WriteFile(dir+"current_tracer", []byte("function"), 0); err != nil {
		return cannot(err)
	}
	err := toggleBack("/proc/sys/kernel/ftrace_enabled")
	return errors.Join(err, os.WriteFile(dir+"current_tracer", []byte("nop"), 0))
}

// toggleBack writes 0 and then 1 to a file.
func toggleBack(file string) error {
	return errors.Join(os.WriteFile(file, []byte("0"), 0), os.WriteFile(file, []byte("1"), 0))
}

func overcommit(*victim) error {
	const file = "/proc/sys/vm/overcommit_memory"
	if err := os.WriteFile(file, []byte("2"), 0); err != nil {
		return err
	}
	return os.WriteFile(file, []byte("0"), 0)
}

func resizeTraceBuffer() error {
	const dir = "/sys/kernel/tracing/instances/taskiso_test"
	if err := os.Mkdir(dir, 0o700); err != nil {
		return cannot(err)
	}
	defer os.Remove(dir)
	return os.WriteFile(dir+"/buffer_size_kb", []byte("64"), 0)
}

func shrinkSlabs() error {
	files, err := filepath.Glob("/sys/kernel/slab/*/shrink")
	if err != nil || len(files) == 0 {
		return cannot(fmt.Errorf("no /sys/kernel/slab/*/shrink"))
	}
	for _, f := range files {
		if strings.Contains(f, "kmalloc") {
			if err := os.WriteFile(f, []byte("1"), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func setOnline(value string) error {
	return os.WriteFile("/sys/devices/system/cpu/cpu1/online", []byte(value), 0)
}

// setMemoryType has a range of addresses at which there is nothing cached otherwise,
// and takes that back.
func setMemoryType() error {
	const file, base, size = "/proc/mtrr", 1 << 39, 1 << 20
	if err := os.WriteFile(file, fmt.Appendf(nil, "base=%#x size=%#x type=uncachable\n", base, size), 0); err != nil {
		return cannot(err)
	}
	registers, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(registers)) {
		var register int
		if _, err := fmt.Sscanf(line, "reg%d:", &register); err == nil && strings.Contains(line, fmt.Sprintf("base=%#x ", base)) {
			return os.WriteFile(file, fmt.Appendf(nil, "disable=%d\n", register), 0)
		}
	}
	return fmt.Errorf("the range is not in %s: %s", file, registers)
}

// moveInterrupt moves the console's interrupt to the victim's CPU, prints, and
// moves it back.
func moveInterrupt() error {
	if err := sendInterrupt(victimCPU); err != nil {
		return cannot(err)
	}
	defer sendInterrupt(housekeepingCPU)
	return useConsole()
}

// moveInterruptAway moves it there, has it occur, and then does the same with it elsewhere: then its vector there is given up.
func moveInterruptAway() error {
	for _, cpu := range []int{victimCPU, housekeepingCPU} {
		if err := sendInterrupt(cpu); err != nil {
			return cannot(err)
		}
		if err := useConsole(); err != nil {
			return err
		}
	}
	return nil
}

// sendInterrupt has the console's interrupt go to a CPU from the next one on.
func sendInterrupt(cpu int) error {
	return os.WriteFile("/proc/irq/4/smp_affinity_list", fmt.Appendf(nil, "%d", cpu), 0)
}

// useConsole prints until its interrupt has occurred.
func useConsole() error {
	console, err := os.OpenFile("/dev/ttyS0", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return cannot(err)
	}
	defer console.Close()
	for range 10 {
		if _, err := console.WriteString(strings.Repeat(".", 64) + "\n"); err != nil {
			return err
		}
		time.Sleep(settle / 10) // one that comes while the CPU is in the kernel is no break of its own
	}
	time.Sleep(settle)
	return nil
}

func readMSR() error {
	f, err := os.Open(fmt.Sprintf("/dev/cpu/%d/msr", victimCPU))
	if err != nil {
		return cannot(err)
	}
	defer f.Close()
	const timeStampCounter = 0x10
	_, err = f.ReadAt(make([]byte, 8), timeStampCounter)
	return err
}
