// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/emulator"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// loadModule loads a small module that nothing needs, and unloads it.
func loadModule(*victim) error {
	const module = "dummy"
	if err := vmtest.LoadModule(module, "numdummies=0"); errors.Is(err, os.ErrNotExist) {
		return cannot(err)
	} else if err != nil {
		return err
	}
	return unix.DeleteModule(module, 0)
}

// afterTouching writes to a file of /proc/sys when the victim has a page on the
// way to the lists of its memory, which its CPU alone can put there.
func afterTouching(name string) func(*victim) error {
	return func(v *victim) error {
		for range 3 { // others collect such pages as well
			if err := onVictim(touch(unix.MAP_PRIVATE|unix.MAP_ANONYMOUS, true))(v); err != nil {
				return err
			}
			if err := os.WriteFile("/proc/sys/vm/"+name, []byte("1"), 0); err != nil {
				return err
			}
			time.Sleep(settle)
		}
		return nil
	}
}

// mergePages has KSM find equal pages in the victim's process.
func mergePages(*victim) error {
	const dir = "/sys/kernel/mm/ksm/"
	if _, err := os.Stat(dir); err != nil {
		return cannot(err)
	}
	m, err := unix.Mmap(-1, 0, 64*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	for i := range m {
		m[i] = 42
	}
	if err := unix.Madvise(m, unix.MADV_MERGEABLE); err != nil {
		return err
	}
	for file, value := range map[string]string{"sleep_millisecs": "1", "pages_to_scan": "1000", "run": "1"} {
		if err := os.WriteFile(dir+file, []byte(value), 0); err != nil {
			return err
		}
	}
	time.Sleep(time.Second)
	return os.WriteFile(dir+"run", []byte("0"), 0)
}

// swapOn uses a device in memory for swap.
func swapOn() error {
	const device = "/dev/ram1"
	if _, err := os.Stat(device); err != nil {
		if err := vmtest.LoadModule("brd", "rd_nr=2 rd_size=4096"); errors.Is(err, os.ErrNotExist) {
			return cannot(err)
		} else if err != nil {
			return err
		}
	}
	if err := makeSwap(device, 1024); err != nil {
		return err
	}
	path, err := unix.BytePtrFromString(device)
	if err != nil {
		return err
	}
	return call(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0)
}

// swapOut has pages of the victim's process written to swap.
func swapOut(*victim) error {
	if swaps, err := os.ReadFile("/proc/swaps"); err != nil || !strings.Contains(string(swaps), "ram") {
		return cannot(errors.New("no memory device for swap"))
	}
	const pages = 256 // more than wait on a CPU for their way to the lists of memory
	m, err := unix.Mmap(-1, 0, pages*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return err
	}
	for i := range m {
		m[i] = byte(i)
	}
	return unix.Madvise(m, unix.MADV_PAGEOUT)
}

// makeSwap writes union swap_header of include/linux/swap.h.
func makeSwap(device string, pages int) error {
	header := make([]byte, os.Getpagesize())
	binary.NativeEndian.PutUint32(header[1024:], 1) // version
	binary.NativeEndian.PutUint32(header[1028:], uint32(pages-1))
	copy(header[len(header)-10:], "SWAPSPACE2")
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(header); err != nil {
		return err
	}
	return f.Sync()
}

// sampleByFrequency opens a perf event whose period is adjusted in the tick.
func sampleByFrequency(v *victim) error {
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CONTEXT_SWITCHES,
		Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})), Sample: 1000, Bits: unix.PerfBitFreq,
	}
	fd, err := unix.PerfEventOpen(&attr, v.tid, -1, -1, 0)
	if err != nil {
		return err
	}
	time.Sleep(settle)
	return unix.Close(fd)
}

// foreignTask has a process that began elsewhere run on the victim's CPU, by
// what move does to it.
func foreignTask(move func(pid int) error) func(*victim) error {
	return func(v *victim) error {
		c, err := v.helperCommand("be busy")
		if err != nil {
			return err
		}
		if err := c.Start(); err != nil {
			return err
		}
		time.Sleep(settle) // it has begun
		return errors.Join(move(c.Process.Pid), c.Wait())
	}
}

func setAffinity(pid int) error {
	cpus, err := cpulist.New(victimCPU)
	if err != nil {
		return err
	}
	return affinity.Set(pid, cpus)
}

func moveToCpuset(pid int) error {
	const root = "/sys/fs/cgroup/"
	dir := filepath.Join(root, "taskiso_test")
	for _, w := range []struct{ file, text string }{
		{root + "cgroup.subtree_control", "+cpuset"},
		{dir + "/cpuset.cpus", fmt.Sprint(victimCPU)},
		{dir + "/cgroup.procs", fmt.Sprint(pid)},
	} {
		if err := os.WriteFile(w.file, []byte(w.text), 0); err != nil {
			return cannot(err)
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// Of include/uapi/linux/io_uring.h.
const (
	ioUringParams   = 120 // size of struct io_uring_params
	ioUringTail     = 40 + 4
	ioUringArray    = 40 + 24
	ioUringEntries  = 0x10000000 // offset of the entries in the file
	ioUringEntry    = 64         // size of struct io_uring_sqe
	ioUringSQEAsync = 1 << 4
	ioUringRequests = 4
)

// asyncIO has the kernel do operations of an io_uring in a worker thread, which it
// makes of the thread that asks and gives a name of its own when it first runs.
func asyncIO(v *victim) error {
	var params [ioUringParams]byte
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, ioUringRequests, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return cannot(errno)
	}
	ring, err := unix.Mmap(int(fd), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	entries, err := unix.Mmap(int(fd), ioUringEntries, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	indexes := ring[binary.NativeEndian.Uint32(params[ioUringArray:]):]
	tail := (*uint32)(unsafe.Pointer(&ring[binary.NativeEndian.Uint32(params[ioUringTail:])]))
	for i := range uint32(ioUringRequests) {
		entries[ioUringEntry*i+1] = ioUringSQEAsync // an operation without effect: IORING_OP_NOP is 0
		binary.NativeEndian.PutUint32(indexes[4*i:], i)
		atomic.StoreUint32(tail, i+1)
		if err := onVictim(func() error { return call(unix.SYS_IO_URING_ENTER, fd, 1, 0, 0) })(v); err != nil {
			return err
		}
		time.Sleep(settle)
	}
	return unix.Close(int(fd))
}

// stepClock would set the system clock.
func stepClock(*victim) error {
	return cannot(errors.New("only CPUs with a timer on that clock are interrupted, and the isolated one has none"))
}

// encapsulation opens a socket for IPsec in UDP, for which a static key is switched on.
func encapsulation() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_ENCAP, unix.UDP_ENCAP_ESPINUDP)
}

// kernelInt reads an int of the kernel by its symbol.
func kernelInt(symbol string) (int32, error) {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var address int64
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) == 3 && fields[2] == symbol {
			if address, err = parseAddress(fields[0]); err != nil {
				return 0, err
			}
		}
	}
	if address == 0 {
		return 0, fmt.Errorf("no symbol %s", symbol)
	}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:    ebpf.SocketFilter,
		License: "GPL",
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.RFP),
			asm.Add.Imm(asm.R1, -8),
			asm.Mov.Imm(asm.R2, 4),
			asm.LoadImm(asm.R3, address, asm.DWord),
			asm.FnProbeReadKernel.Call(),
			asm.LoadMem(asm.R0, asm.RFP, -8, asm.Word),
			asm.Return(),
		},
	})
	if err != nil {
		return 0, err
	}
	defer program.Close()
	value, err := program.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	return int32(value), err
}

func parseAddress(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 16, 64)
	return int64(n), err
}

// debugged is where the debugger's breakpoint is.
//
//go:noinline
func debugged() { sink++ }

// breakpoint has the victim run into a debugger's breakpoint.
func breakpoint(v *victim) error {
	var ended atomic.Bool
	result := make(chan error, 1)
	go func() {
		result <- v.helper("set breakpoint", funcAddress(debugged))
		ended.Store(true)
	}()
	v.on(func() {
		for !ended.Load() {
			debugged()
			emulator.Yield()
		}
	})
	return <-result
}

func funcAddress(f func()) uintptr { return **(**uintptr)(unsafe.Pointer(&f)) }

// victimCgroup is for the victim's process. Who moves it there stays outside.
const victimCgroup = "/sys/fs/cgroup/taskiso_victim"

// inCgroup does something while the parent is in a cgroup of its own.
func inCgroup(do func() error) error {
	const root = "/sys/fs/cgroup"
	if err := os.WriteFile(root+"/cgroup.subtree_control", []byte("+cpu"), 0); err != nil {
		return err
	}
	if err := os.Mkdir(victimCgroup, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	parent := fmt.Append(nil, os.Getppid())
	if err := os.WriteFile(victimCgroup+"/cgroup.procs", parent, 0); err != nil {
		return err
	}
	return errors.Join(do(), os.WriteFile(root+"/cgroup.procs", parent, 0))
}

func freeze() error {
	if err := os.WriteFile(victimCgroup+"/cgroup.freeze", []byte("1"), 0); err != nil {
		return err
	}
	for { // until it is
		events, err := os.ReadFile(victimCgroup + "/cgroup.events")
		if err != nil || strings.Contains(string(events), "frozen 1") {
			return errors.Join(err, os.WriteFile(victimCgroup+"/cgroup.freeze", []byte("0"), 0))
		}
		time.Sleep(time.Millisecond)
	}
}

// limitByQuota leaves the parent a tenth of a CPU until it has been throttled.
func limitByQuota() error {
	if err := os.WriteFile(victimCgroup+"/cpu.max", []byte("10000 100000"), 0); err != nil {
		return err
	}
	for {
		stat, err := os.ReadFile(victimCgroup + "/cpu.stat")
		if err != nil || !strings.Contains(string(stat), "nr_throttled 0\n") {
			return errors.Join(err, os.WriteFile(victimCgroup+"/cpu.max", []byte("max"), 0))
		}
		time.Sleep(time.Millisecond)
	}
}

// setUprobe sets and removes a probe at an address of the program, by its place in the file.
func setUprobe() error {
	const events = "/sys/kernel/tracing/uprobe_events"
	program, err := os.Executable()
	if err != nil {
		return err
	}
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	address := uint64(arg(1))
	for _, p := range f.Progs {
		if p.Type != elf.PT_LOAD || address < p.Vaddr || address >= p.Vaddr+p.Filesz {
			continue
		}
		probe := fmt.Appendf(nil, "p:taskiso_test %s:%#x", program, address-p.Vaddr+p.Off)
		if err := os.WriteFile(events, probe, 0); err != nil {
			return err
		}
		return errors.Join(toggle("/sys/kernel/tracing/events/uprobes/taskiso_test/enable"), os.WriteFile(events, nil, 0))
	}
	return fmt.Errorf("%#x is in no segment of %s", address, program)
}

func setBreakpoint() error {
	tid, address := arg(0), uintptr(arg(1))
	if err := seize(tid); err != nil {
		return err
	}
	original := make([]byte, 1)
	if _, err := unix.PtracePeekText(tid, address, original); err != nil {
		return err
	}
	if _, err := unix.PtracePokeText(tid, address, breakpointInstruction); err != nil {
		return err
	}
	if err := unix.PtraceCont(tid, 0); err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(tid, &status, unix.WALL, nil); err != nil {
		return err
	}
	if !status.Stopped() || status.StopSignal() != unix.SIGTRAP {
		return fmt.Errorf("stopped with status %#x, not by the breakpoint", status)
	}
	if _, err := unix.PtracePokeText(tid, address, original); err != nil {
		return err
	}
	if err := rewind(tid, address); err != nil {
		return err
	}
	return unix.PtraceDetach(tid)
}

// movePages moves the memory of the victim's process to another node, and back.
func movePages(*victim) error {
	if _, err := os.Stat("/sys/devices/system/node/node1"); err != nil {
		return cannot(errors.New("the machine has one memory node"))
	}
	const maxNode = 64
	node0, node1 := uint64(1<<0), uint64(1<<1)
	for _, way := range [][2]*uint64{{&node0, &node1}, {&node1, &node0}} {
		if err := call(unix.SYS_MIGRATE_PAGES, 0, maxNode, uintptr(unsafe.Pointer(way[0])), uintptr(unsafe.Pointer(way[1]))); err != nil {
			return err
		}
	}
	return nil
}

// expeditedRCU waits for a grace period in a hurry.
func expeditedRCU(*victim) error {
	return cannot(errors.New("a nohz_full CPU in user mode is idle to RCU, which asks nothing of it"))
}

func splitLock(*victim) error {
	return cannot(errors.New("the emulated CPU does not trap split locks"))
}

// filterSystemCalls has another process load a filter, which interrupts nobody.
func filterSystemCalls(v *victim) error {
	if err := v.helper("load seccomp filter"); err != nil {
		return err
	}
	return cannot(errors.New("made, but interrupts no CPU: its code goes into memory that is executable already, since Linux 5.18"))
}

// loadSeccompFilter loads a filter that allows everything.
func loadSeccompFilter() error {
	const setModeFilter, allow = 1, 0x7fff0000 // include/uapi/linux/seccomp.h
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: allow}}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return call(unix.SYS_SECCOMP, setModeFilter, 0, uintptr(unsafe.Pointer(&filter)))
}

func seize(tid int) error {
	if err := unix.PtraceSeize(tid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return err
	}
	var status unix.WaitStatus
	_, err := unix.Wait4(tid, &status, unix.WALL, nil)
	return err
}

// helperCommand is the command that runs the named part of helpers.
func (v *victim) helperCommand(name string, args ...any) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), helperVariable+"="+name, victimVariable+"=", fmt.Sprintf("ARG0=%v", v.tid))
	for i, a := range args {
		c.Env = append(c.Env, fmt.Sprintf("ARG%d=%v", i+1, a))
	}
	return c, nil
}
