// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/vmtest"
	"github.com/taskiso/taskiso/internal/vmtest/debian"
)

// prctlVariable makes the test binary a program that asks to be isolated.
const prctlVariable = "TASKISO_TEST_PRCTL"

// roles are what the test binary is instead if a variable is set, with its value.
var roles = map[string]func(value string) error{
	loadVariable:      func(spec string) error { load(spec); return nil },
	guardedVariable:   func(string) error { beGuarded(); return nil },
	victimVariable:    func(file string) error { beVictim(file); return nil },
	namespaceVariable: beInNamespace,
	containerVariable: becomeContainer,
	enterVariable:     beEntering,
	pacedVariable:     func(string) error { bePaced(); return nil },
	wakingVariable:    func(string) error { return beWaking() },
	askVariable:       askForSnapshot,
	prctlVariable:     func(string) error { askForIsolation(); return nil },
	helperVariable:    func(name string) error { beHelper(name); return nil },
	spinVariable:      func(cpu string) error { spinOn(cpu); return nil },
	sleepVariable:     func(string) error { time.Sleep(time.Hour); return nil },
	showVariable:      show,
	disturbVariable:   func(name string) error { beDisturber(name); return nil },
	setApartVariable:  func(dir string) error { beSetApart(dir); return nil },
}

func TestMain(m *testing.M) {
	for variable, be := range roles {
		value := os.Getenv(variable)
		if value == "" {
			continue
		}
		if err := be(value); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	vmtest.Main(m)
}

func askForIsolation() {
	r, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, abi.SetTaskIsolation, 1, 0, 0, 0, 0)
	fmt.Println(int64(r), errno)
}

// program under test in a guest.
const guestProgram = "/bin/taskiso"

func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline:  vmtest.Isolated,
		Also:     []string{debian.RealTime, debian.ARM64},
		Programs: map[string]vmtest.Program{guestProgram: taskiso, pollerProgram: inC("poller"), timensProgram: inC("timens"), rareProgram: inC("rare")},
		Tests:    "^TestGuest[^GIPSY]", // not what other tests here and in soak_vm_test.go and posts_vm_test.go run
		Timeout:  20 * time.Minute,
	})
}

// TestVMExports exports a recording of provocations. On arm64 most of them interrupt nobody: its TLB is flushed without interrupts.
func TestVMExports(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Kernels:  debian.Suites(),
		Cmdline:  vmtest.Isolated,
		Programs: map[string]vmtest.Program{guestProgram: taskiso},
		Tests:    "^TestGuestProvokedExports$",
		Timeout:  20 * time.Minute,
	})
}

// TestVMScreen is what the screen of a report promises.
func TestVMScreen(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline:  vmtest.Isolated,
		Kernels:  []string{"trixie"},
		Programs: map[string]vmtest.Program{guestProgram: taskiso, appProgram: inC("app")},
		Tests:    "^TestGuestScreen",
		Timeout:  20 * time.Minute,
	})
}

// What a loop does when it loses its CPU or its clock is the same on all kernels.
func TestVMGaps(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Kernels:  []string{"trixie"},
		Cmdline:  vmtest.Isolated,
		Programs: map[string]vmtest.Program{guestProgram: taskiso},
		Tests:    "^TestGuestGaps",
		Timeout:  20 * time.Minute,
	})
}

// taskiso is the program under test.
func taskiso(ctx context.Context, dir, arch string) (string, error) {
	return vmtest.GoProgram("cmd/taskiso")(ctx, dir, arch)
}

func buildProgram(t *testing.T) string { return vmtest.Build(t, taskiso) }

// inC is testdata/NAME.c, which is on one thread what Go is not.
func inC(name string) vmtest.Program { return compiled("testdata/" + name + ".c") }

func compiled(source string) vmtest.Program { return vmtest.CProgram(source, "-I../../include") }

// TestVMSMIs runs on emulated CPUs that count SMIs, and that the kernel knows to do so. So do commands as users type them.
func TestVMSMIs(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated + " tsc=reliable",
		Kernels: []string{"trixie"},
		Model:   "Skylake-Client",
		Programs: map[string]vmtest.Program{
			guestProgram:  taskiso,
			smiProgram:    inC("smi"),
			appProgram:    inC("app"),
			loopProgram:   compiled("../../examples/ci/loop.c"),
			chattyProgram: vmtest.CProgram("../../examples/ci/loop.c", "-DCHATTY"),
		},
		Files:   map[string]string{"/test/testdata/script/guest": "testdata/script/guest", "/test/examples/ci": "../../examples/ci"},
		Tests:   "^TestGuest(SMIs|Scripts)$",
		Timeout: 20 * time.Minute,
	})
}

// TestVMIsolation is what prctl(48) does on each kernel.
func TestVMIsolation(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		// An emulated TSC looks unstable to 7.2 when the host is busy, and then the tick stays.
		Cmdline: vmtest.Isolated + " tsc=reliable",
		Programs: map[string]vmtest.Program{
			guestProgram:     taskiso,
			goExample:        vmtest.GoProgram("examples/go"),
			cExample:         compiled("../../examples/c/isolated.c"),
			isolationProgram: inC("isolation"),
			clockProgram:     inC("clock"),
			timensProgram:    inC("timens"),
		},
		Tests:   "^TestGuestIsolation",
		Timeout: 20 * time.Minute,
	})
}

// TestVMHold holds operations of each kind that are quick, on each kernel; soak_vm_test.go all.
func TestVMHold(t *testing.T) {
	runHold(t, vmtest.Config{Tests: "^TestGuestYield", Timeout: 20 * time.Minute})
}

func runHold(t *testing.T, c vmtest.Config) {
	t.Helper()
	c.Modules = []string{"dummy", "brd", "sch_ingress", "libcrc32c", "nfnetlink", "nf_tables", "irqbypass", "kvm", "kvm-amd", "msr"}
	c.Programs = map[string]vmtest.Program{guestProgram: taskiso, windowProgram: inC("window"), hostileProgram: inC("hostile")}
	c.Cmdline = vmtest.Isolated + " tsc=reliable transparent_hugepage=never"
	vmtest.Run(t, c)
}
