// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// guardedVariable makes the test binary a process that does the guarded operations
// whose names it reads, one after the other, and says what came of each.
const guardedVariable = "TASKISO_TEST_GUARDED"

// guardedOperation is a real one that "taskiso hold" keeps back.
type guardedOperation struct {
	name, operation string
	prepare         func() error // while nothing is isolated
	do              func() error // leaves everything as it was
	// cause is what breaks the isolation of CPU 3 if it is not held; one of several.
	cause []string
	quick bool // quick enough for every run of the tests
	// harmless says why it breaks nothing in these guests, on all kernels or on one.
	harmless map[string]string
}

const allKernels = ""

func onAll(why string) map[string]string { return map[string]string{allKernels: why} }

var guardedOperations = []guardedOperation{
	{name: "BPF attach", operation: "bpf", do: attachBPF, cause: []string{"ipi-text-patching-bpf"}},
	{name: "perf on the CPU", quick: true, operation: "perf", do: thrice(func() error { return perf(-1, victimCPU) }), cause: []string{"ipi-perf"}},
	{name: "trace event", quick: true, operation: "tracing", do: func() error { return toggle("/sys/kernel/tracing/events/task/task_rename/enable") }, cause: []string{"ipi-text-patching-tracing"}},
	{name: "kprobe", operation: "tracing", do: kprobe, cause: []string{"ipi-text-patching-kprobe", "ipi-text-patching-tracing"}},
	{name: "function tracer", operation: "tracing", do: functionTracer, cause: []string{"ipi-text-patching-tracing"}},
	{name: "module", operation: "module", do: func() error { return loadModule(nil) }, cause: []string{"ipi-text-patching-module", "ipi-tlb-kernel", "ipi-cache-attributes"}},
	{name: "schedstats", operation: "sysctl", do: func() error { return toggle("/proc/sys/kernel/sched_schedstats") }, cause: []string{"ipi-text-patching-static-key"}},
	{name: "stat_refresh", operation: "sysctl", do: func() error { _, err := os.ReadFile("/proc/sys/vm/stat_refresh"); return err }, cause: []string{"work-vmstat-refresh", "work-vmstat"}},
	{
		name: "drop_caches", operation: "sysctl", do: func() error { return os.WriteFile("/proc/sys/vm/drop_caches", []byte("1"), 0) }, cause: []string{"work-lru-drain"},
		harmless: onAll("it interrupts CPUs only that have pages on their way to the lists of memory"),
	},
	{name: "CPU hotplug", operation: "hotplug", do: func() error { return errors.Join(setOnline("0"), setOnline("1")) }, cause: []string{"stopper-hotplug", "stopper"}},
	{name: "affinity", operation: "affinity", do: goThere, cause: []string{"task-user", "stopper-affinity"}},
	{name: "cpuset", operation: "cpuset", prepare: prepareCpuset, do: joinCpuset, cause: []string{"task-user"}},
	{
		name: "UDP encapsulation", quick: true, operation: "socket-option", do: encapsulation, cause: []string{"ipi-text-patching-static-key"},
	},
	{name: "traffic control", operation: "netlink", prepare: modules("sch_ingress"), do: trafficControl, cause: []string{"ipi-text-patching-static-key"}},
	{name: "nftables", operation: "netlink", prepare: modules("libcrc32c", "nfnetlink", "nf_tables"), do: nftables, cause: []string{"ipi-text-patching-static-key"}},
	{name: "MSR read", operation: "device", prepare: prepareMSR, do: thrice(readMSR), cause: []string{"ipi-msr"}},
	{name: "moved interrupt", operation: "irq", do: moveInterrupt, cause: []string{"irq"}},
	{
		name: "virtual machine", operation: "kvm", prepare: modules("irqbypass", "kvm", "kvm-amd"), do: createVM,
		cause: []string{"ipi-kvm-start", "ipi-function", "ipi-text-patching-static-key"}, // before Linux 6.12 it switches virtualisation on; then the module does
	},
	{
		name: "memory", operation: "memory", do: switchMemory, cause: []string{"work-lru-drain"},
		harmless: onAll("it interrupts CPUs only that have pages on their way to the lists of memory"),
	},
	{
		name: "swap", operation: "swap", prepare: modules("brd"), do: switchSwap, cause: []string{"work-lru-drain"},
		harmless: onAll("it interrupts CPUs only that have pages on their way to the lists of memory"),
	},
	{name: "backtrace of all CPUs", operation: "sysrq", do: func() error { return os.WriteFile("/proc/sysrq-trigger", []byte("l"), 0) }, cause: []string{"nmi-backtrace"}},
}

// why says why an operation breaks nothing on a kernel; empty if it must.
func (o guardedOperation) why(kernel string) string {
	if why, ok := o.harmless[kernel]; ok {
		return why
	}
	return o.harmless[allKernels]
}

func beGuarded() {
	if err := moveAllThreads(); err != nil {
		panic(err)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		i := slices.IndexFunc(guardedOperations, func(o guardedOperation) bool { return o.name == in.Text() })
		if err := guardedOperations[i].do(); err != nil {
			fmt.Println(err)
		} else {
			fmt.Println("done")
		}
	}
}

// operator is that process.
type operator struct {
	in   io.Writer
	said chan string
}

func startOperator(t *testing.T) *operator {
	t.Helper()
	c := exec.Command(testBinary(t))
	c.Env = append(os.Environ(), guardedVariable+"=1", "GOMAXPROCS=2")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	o := &operator{in: in, said: make(chan string, 1)}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			o.said <- lines.Text()
		}
		c.Wait()
	}()
	t.Cleanup(func() { in.Close() })
	return o
}

// begin lets it begin an operation.
func (o *operator) begin(t *testing.T, name string) {
	t.Helper()
	if _, err := fmt.Fprintln(o.in, name); err != nil {
		t.Fatal(err)
	}
}

// end waits for what came of it.
func (o *operator) end(t *testing.T) string {
	t.Helper()
	select {
	case said := <-o.said:
		return said
	case <-time.After(3 * time.Minute): // patching code takes long under emulation
		t.Fatal("the operation does not end")
		return ""
	}
}

// thrice does what interrupts once or twice three times: what arrives while the
// victim is in the kernel is no break of its own.
func thrice(do func() error) func() error {
	return func() error {
		for range 3 {
			if err := do(); err != nil {
				return err
			}
			time.Sleep(settle / 2)
		}
		return nil
	}
}

// modules returns what loads modules, in their order.
func modules(names ...string) func() error {
	return func() error {
		for _, name := range names {
			err := vmtest.LoadModule(name, "")
			if errors.Is(err, os.ErrNotExist) { // built into this kernel, or part of the next one
				continue
			}
			if err != nil && !errors.Is(err, unix.EEXIST) {
				return cannot(err)
			}
		}
		return nil
	}
}

const testCpuset = "/sys/fs/cgroup/taskiso_hold"

func prepareCpuset() error {
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.subtree_control", []byte("+cpuset"), 0); err != nil {
		return cannot(err)
	}
	if err := os.Mkdir(testCpuset, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return os.WriteFile(testCpuset+"/cpuset.cpus", fmt.Appendf(nil, "%d", victimCPU), 0)
}

func joinCpuset() error {
	me := fmt.Appendf(nil, "%d", os.Getpid())
	if err := os.WriteFile(testCpuset+"/cgroup.procs", me, 0); err != nil {
		return err
	}
	spinFor(settle)
	if err := os.WriteFile("/sys/fs/cgroup/cgroup.procs", me, 0); err != nil {
		return err
	}
	return moveAllThreads() // they may run everywhere now, on isolated CPUs too
}

// goThere runs on the victim's CPU for a while.
func goThere() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := setAffinity(0); err != nil {
		return err
	}
	spinFor(settle)
	cpus, err := cpulist.New(housekeepingCPU)
	if err != nil {
		return err
	}
	return affinity.Set(0, cpus)
}

func prepareMSR() error {
	if err := modules("msr")(); err != nil {
		return err
	}
	dir := fmt.Sprintf("/dev/cpu/%d", victimCPU)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	const major = 202
	if err := unix.Mknod(filepath.Join(dir, "msr"), unix.S_IFCHR|0o600, int(unix.Mkdev(major, victimCPU))); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

func createVM() error {
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return cannot(err)
	}
	defer kvm.Close()
	const create = 0xae01
	vm, _, errno := unix.Syscall(unix.SYS_IOCTL, kvm.Fd(), create, 0)
	if errno != 0 {
		return errno
	}
	return unix.Close(int(vm))
}

// switchMemory switches the last block of memory that can be off and on again.
func switchMemory() error {
	blocks, err := filepath.Glob("/sys/devices/system/memory/memory*/online")
	if err != nil || len(blocks) == 0 {
		return cannot(fmt.Errorf("no block of memory"))
	}
	slices.Reverse(blocks)
	if err := os.WriteFile(blocks[0], []byte("0"), 0); err != nil {
		return fmt.Errorf("switching memory off: %w", errors.Unwrap(err))
	}
	return os.WriteFile(blocks[0], []byte("1"), 0)
}

func switchSwap() error {
	const device = "/dev/ram0"
	if err := makeSwap(device, 1024); err != nil {
		return cannot(err)
	}
	path, err := unix.BytePtrFromString(device)
	if err != nil {
		return err
	}
	if err := call(unix.SYS_SWAPON, uintptr(unsafe.Pointer(path)), 0); err != nil {
		return err
	}
	return call(unix.SYS_SWAPOFF, uintptr(unsafe.Pointer(path)))
}

// message is a message of netlink, in the making.
type message []byte

func newMessage(kind, flags uint16, header ...byte) message {
	m := binary.NativeEndian.AppendUint32(nil, 0) // length
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, flags)
	m = binary.NativeEndian.AppendUint32(m, 1) // number
	m = binary.NativeEndian.AppendUint32(m, 0)
	return append(m, header...)
}

func (m message) attribute(kind uint16, value ...byte) message {
	m = binary.NativeEndian.AppendUint16(m, uint16(4+len(value)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = append(m, value...)
	for len(m)%4 != 0 {
		m = append(m, 0)
	}
	return m
}

// end sets the length.
func (m message) end() []byte {
	binary.NativeEndian.PutUint32(m, uint32(len(m)))
	return m
}

// sendNetlink sends messages at once and returns the first error that comes back.
func sendNetlink(protocol, answers int, text []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, protocol)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return err
	}
	if err := unix.Sendto(fd, text, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for range answers {
		b := make([]byte, 8192)
		n, _, err := unix.Recvfrom(fd, b, 0)
		if err != nil {
			return err
		}
		if n < 20 {
			return fmt.Errorf("an answer of %d bytes", n)
		}
		if code := int32(binary.NativeEndian.Uint32(b[16:])); code != 0 {
			return unix.Errno(-code)
		}
	}
	return nil
}

const requestAck = unix.NLM_F_REQUEST | unix.NLM_F_ACK

// trafficControl gives the loopback device a queue for what comes in, and takes it away.
func trafficControl() error {
	const loopback, ingress = 1, 0xfffffff1
	header := make([]byte, 20) // struct tcmsg
	binary.NativeEndian.PutUint32(header[4:], loopback)
	binary.NativeEndian.PutUint32(header[8:], ingress&0xffff0000)
	binary.NativeEndian.PutUint32(header[12:], ingress)
	for _, m := range []message{
		newMessage(unix.RTM_NEWQDISC, requestAck|unix.NLM_F_CREATE|unix.NLM_F_EXCL, header...),
		newMessage(unix.RTM_DELQDISC, requestAck, header...),
	} {
		if err := sendNetlink(unix.NETLINK_ROUTE, 1, m.attribute(unix.TCA_KIND, []byte("ingress\x00")...).end()); err != nil {
			return fmt.Errorf("traffic control: %w", err)
		}
	}
	return nil
}

// nftables makes a table with a chain at a hook, and takes it away.
func nftables() error {
	const subsystem = unix.NFNL_SUBSYS_NFTABLES
	family := []byte{unix.NFPROTO_IPV4, 0, 0, 0} // struct nfgenmsg
	batch := func(kind uint16) []byte { return newMessage(kind, unix.NLM_F_REQUEST, 0, 0, 0, subsystem).end() }
	name := []byte("taskiso\x00")
	hook := message{}.attribute(1, 0, 0, 0, 1).attribute(2, 0, 0, 0, 0) // NFTA_HOOK_HOOKNUM: local in; NFTA_HOOK_PRIORITY
	for _, changes := range [][]message{
		{
			newMessage(subsystem<<8|unix.NFT_MSG_NEWTABLE, requestAck|unix.NLM_F_CREATE, family...).attribute(unix.NFTA_TABLE_NAME, name...),
			newMessage(subsystem<<8|unix.NFT_MSG_NEWCHAIN, requestAck|unix.NLM_F_CREATE, family...).
				attribute(unix.NFTA_CHAIN_TABLE, name...).attribute(unix.NFTA_CHAIN_NAME, name...).
				attribute(unix.NFTA_CHAIN_HOOK|unix.NLA_F_NESTED, hook...).attribute(unix.NFTA_CHAIN_TYPE, []byte("filter\x00")...),
		},
		{newMessage(subsystem<<8|unix.NFT_MSG_DELTABLE, requestAck, family...).attribute(unix.NFTA_TABLE_NAME, name...)},
	} {
		text := batch(unix.NFNL_MSG_BATCH_BEGIN)
		for _, m := range changes {
			text = append(text, m.end()...)
		}
		if err := sendNetlink(unix.NETLINK_NETFILTER, len(changes), append(text, batch(unix.NFNL_MSG_BATCH_END)...)); err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		time.Sleep(settle)
	}
	return nil
}
