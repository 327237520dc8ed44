// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/vmtest"
)

func TestMain(m *testing.M) {
	if spec := os.Getenv(loadVariable); spec != "" {
		load(spec)
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
	if name := os.Getenv(helperVariable); name != "" {
		beHelper(name)
		return
	}
	if cpu := os.Getenv(spinVariable); cpu != "" {
		spinOn(cpu)
	}
	vmtest.Main(m)
}

// program under test in a guest.
const guestProgram = "/bin/taskiso"

func TestVM(t *testing.T) {
	vmtest.Run(t, vmtest.Config{
		Cmdline: vmtest.Isolated,
		Files:   map[string]string{guestProgram: buildProgram(t)},
		Tests:   "^TestGuest[^IPS]", // not what other tests here and in soak_vm_test.go and posts_vm_test.go run
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
func buildC(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	gcc := exec.Command("gcc", "-std=gnu11", "-Wall", "-Wextra", "-O2", "-pthread", "-I../../include", "-o", path, "testdata/"+name+".c")
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("compiling testdata/%s.c: %v\n%s", name, err, out)
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
			isolationProgram: buildC(t, "isolation"),
		},
		Tests:   "^TestGuestIsolation",
		Timeout: 5 * time.Minute,
	})
}
