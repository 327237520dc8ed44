// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/vmtest"
)

// prctlVariable makes the test binary a program that asks to be isolated.
const prctlVariable = "TASKISO_TEST_PRCTL"

func TestMain(m *testing.M) {
	if spec := os.Getenv(loadVariable); spec != "" {
		load(spec)
		return
	}
	if os.Getenv(guardedVariable) != "" {
		beGuarded()
		return
	}
	if file := os.Getenv(victimVariable); file != "" {
		beVictim(file)
		return
	}
	if os.Getenv(pacedVariable) != "" {
		bePaced()
	}
	if os.Getenv(wakingVariable) != "" {
		fmt.Fprintln(os.Stderr, beWaking())
		os.Exit(1)
	}
	if os.Getenv(prctlVariable) != "" {
		r, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, seccomp.SetTaskIsolation, 1, 0, 0, 0, 0)
		fmt.Println(int64(r), errno)
		return
	}
	if name := os.Getenv(helperVariable); name != "" {
		beHelper(name)
		return
	}
	if cpu := os.Getenv(spinVariable); cpu != "" {
		spinOn(cpu)
	}
	if os.Getenv(sleepVariable) != "" {
		time.Sleep(time.Hour)
	}
	if file := os.Getenv(showVariable); file != "" {
		show(file)
		return
	}
	if name := os.Getenv(disturbVariable); name != "" {
		beDisturber(name)
		return
	}
	if dir := os.Getenv(setApartVariable); dir != "" {
		beSetApart(dir)
	}
	vmtest.Main(m)
}

// program under test in a guest.
const guestProgram = "/bin/taskiso"

func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Files:   map[string]string{guestProgram: buildProgram(t)},
		Tests:   "^TestGuest[^GIPSY]", // not what other tests here and in soak_vm_test.go and posts_vm_test.go run
		Timeout: 5 * time.Minute,
	})
}

// What a loop does when it loses its CPU or its clock is the same on all kernels.
func TestVMGaps(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Kernels: []string{"trixie"},
		Cmdline: vmtest.Isolated,
		Files:   map[string]string{guestProgram: buildProgram(t)},
		Tests:   "^TestGuestGaps",
		Timeout: 5 * time.Minute,
	})
}

func buildProgram(t *testing.T) string { return buildGo(t, "cmd/taskiso") }

// buildGo builds a program of this module.
func buildGo(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), filepath.Base(name))
	build := exec.Command("go", "build", "-o", path, "github.com/taskiso/taskiso/"+name)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building %s: %v\n%s", name, err, out)
	}
	return path
}

// buildC compiles testdata/NAME.c, which is on one thread what Go is not.
// TestVMSMIs runs on emulated CPUs that count SMIs, and that the kernel knows to do so.
func TestVMSMIs(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated + " tsc=reliable",
		Kernels: []string{"trixie"},
		Model:   "Skylake-Client",
		Files:   map[string]string{guestProgram: buildProgram(t), smiProgram: buildC(t, "smi")},
		Tests:   "^TestGuestSMIs$",
	})
}

func buildC(t *testing.T, name string) string { return compileC(t, "testdata/"+name+".c") }

func compileC(t *testing.T, source string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(source), ".c"))
	gcc := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O2", "-pthread", "-I../../include", "-o", path, source)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("compiling %s: %v\n%s", source, err, out)
	}
	return path
}

// TestVMIsolation is what prctl(48) does on each kernel.
func TestVMIsolation(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		// An emulated TSC looks unstable to 7.2 when the host is busy, and then the tick stays.
		Cmdline: vmtest.Isolated + " tsc=reliable",
		Files: map[string]string{
			guestProgram:     buildGo(t, "cmd/taskiso"),
			goExample:        buildGo(t, "examples/go"),
			cExample:         compileC(t, "../../examples/c/isolated.c"),
			isolationProgram: buildC(t, "isolation"),
		},
		Tests:   "^TestGuestIsolation",
		Timeout: 5 * time.Minute,
	})
}

// TestVMHold holds operations of each kind that are quick, on each kernel; soak_vm_test.go all.
func TestVMHold(t *testing.T) {
	runHold(t, vmtest.Config{Tests: "^TestGuestYield", Timeout: 8 * time.Minute})
}

func runHold(t *testing.T, c vmtest.Config) {
	t.Helper()
	c.Files = vmtest.Modules(t, "dummy", "brd", "sch_ingress", "libcrc32c", "nfnetlink", "nf_tables", "irqbypass", "kvm", "kvm-amd", "msr")
	c.Files[guestProgram], c.Files[windowProgram] = buildProgram(t), buildC(t, "window")
	c.Cmdline = vmtest.Isolated + " tsc=reliable transparent_hugepage=never"
	vmtest.Run(t, c)
}
