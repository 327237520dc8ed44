// SPDX-License-Identifier: Apache-2.0

package vmtest_test

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/vmtest"
	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

func TestMain(m *testing.M) { vmtest.Main(m) }

func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Also:    []string{debian.RealTime, debian.ARM64, debian.ARM64Sid},
		Files: map[string]string{
			"/test/testdata":  "testdata",
			"/lib64/own/file": "testdata/hello.txt",
		},
		Programs: map[string]vmtest.Program{
			"/bin/true":  vmtest.HostProgram("/bin/true"),
			"/bin/hello": vmtest.CProgram("testdata/hello.c"),
		},
	})
}

// Another command line is another call: nothing is isolated here.
func TestVMWithoutIsolation(t *testing.T) {
	vmtest.Run(t, vmtest.Config{Kernels: []string{"trixie"}, CPUs: 2, Tests: "^TestGuestHasNoIsolatedCPUs$",
		Env: []string{"VMTEST_PLAIN=1"}})
}

func TestGuestHasNoIsolatedCPUs(t *testing.T) {
	if os.Getenv("VMTEST_PLAIN") == "" {
		return
	}
	if got := read(t, "/sys/devices/system/cpu/online"); got != "0-1" {
		t.Errorf("online CPUs are %s, want 0-1", got)
	}
	if got := read(t, "/sys/devices/system/cpu/isolated"); got != "" {
		t.Errorf("isolated CPUs are %s, want none", got)
	}
}

func TestGuestHasTheHostsFiles(t *testing.T) {
	if got := read(t, "testdata/hello.txt"); got != "hello" {
		t.Errorf("testdata/hello.txt holds %q", got)
	}
	if got := read(t, "/usr/lib/own/file"); got != "hello" {
		t.Errorf("a file below a merged directory holds %q", got)
	}
}

func TestGuestRunsProgramsOfTheHost(t *testing.T) {
	if out, err := exec.Command("/bin/true", "--version").CombinedOutput(); err != nil {
		t.Errorf("running a dynamically linked program: %v\n%s", err, out)
	}
}

func TestGuestRunsProgramsInC(t *testing.T) {
	if out, err := exec.Command("/bin/hello").CombinedOutput(); err != nil || string(out) != "hello from C\n" {
		t.Errorf("the program ended with %v and printed %q", err, out)
	}
}

// The matrix has kernels with and without trace events for inter-processor interrupts, so that code for both is tried.
func TestGuestTracesIPIsUnlessItIs61(t *testing.T) {
	_, err := os.Stat("/sys/kernel/tracing/events/ipi/ipi_send_cpu")
	has, old := err == nil, strings.HasPrefix(read(t, "/proc/sys/kernel/osrelease"), "6.1.")
	if has == old {
		t.Errorf("ipi:ipi_send_cpu exists: %t, kernel is 6.1: %t", has, old)
	}
}

func TestGuestRunsTheKernelOfThePackage(t *testing.T) {
	want := os.Getenv(vmtest.ReleaseVariable)
	if want == "" {
		t.Log("a kernel of somebody's own: any release will do")
		return
	}
	if got := read(t, "/proc/sys/kernel/osrelease"); got != want {
		t.Errorf("kernel release is %s, want %s", got, want)
	}
}

func TestGuestHasIsolatedCPUs(t *testing.T) {
	for path, want := range map[string]string{
		"/sys/devices/system/cpu/online":    "0-3",
		"/sys/devices/system/cpu/nohz_full": "2-3",
		"/sys/devices/system/cpu/isolated":  "2-3",
	} {
		if got := read(t, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if got := runtime.NumCPU(); got != 2 {
		t.Errorf("tests may run on %d CPUs, want the 2 housekeeping CPUs", got)
	}
}

// vmtest's own interrupts must not disturb what tests observe.
func TestGuestSerialPortsLeaveIsolatedCPUsAlone(t *testing.T) {
	for _, port := range map[string][]string{"amd64": {"ttyS0", "ttyS1"}, "arm64": {"ttyAMA0", "ttyAMA1"}}[runtime.GOARCH] {
		irq := read(t, "/sys/class/tty/"+port+"/irq")
		if got := read(t, "/proc/irq/"+irq+"/smp_affinity_list"); got != "0" {
			t.Errorf("interrupt %s of %s may go to CPUs %s, want 0", irq, port, got)
		}
		line := interruptCounts(t, irq)
		if counts := strings.Fields(line); len(counts) < 5 || counts[3] != "0" || counts[4] != "0" {
			t.Errorf("CPUs 2 and 3 have got interrupts of %s, or it has none: %q", port, line)
		}
	}
}

// interruptCounts is the line of an interrupt in /proc/interrupts.
func interruptCounts(t *testing.T, irq string) string {
	t.Helper()
	for line := range strings.Lines(read(t, "/proc/interrupts")) {
		if strings.HasPrefix(strings.TrimSpace(line), irq+":") {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

func TestGuestHasTheKernelsInterfaces(t *testing.T) {
	for _, path := range []string{
		"/sys/kernel/btf/vmlinux",
		"/sys/kernel/tracing/events/context_tracking/user_exit",
		"/sys/kernel/debug/sched",
		"/sys/kernel/security/lsm",
		"/sys/fs/cgroup/cgroup.controllers",
		"/sys/fs/bpf",
		"/dev/null",
		"/proc/self/exe",
	} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	if lsms := read(t, "/sys/kernel/security/lsm"); !strings.Contains(","+lsms+",", ",bpf,") {
		t.Errorf("security modules are %s, want bpf among them", lsms)
	}
}

func TestGuestRunsChildren(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestGuestIsAChild$", "-test.v")
	cmd.Env = append(os.Environ(), "VMTEST_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "hello from a child") {
		t.Errorf("child ended with %v and said:\n%s", err, out)
	}
}

func TestGuestIsAChild(t *testing.T) {
	if os.Getenv("VMTEST_CHILD") != "" {
		t.Log("hello from a child")
	}
	if os.Getpid() == 1 {
		t.Error("tests run as init")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}
