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
		Tests:   "^TestGuest[^PS]", // not provocations, posts and silence: soak_vm_test.go, posts_vm_test.go
		Timeout: 5 * time.Minute,
	})
}

func buildProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "taskiso")
	build := exec.Command("go", "build", "-o", path, "github.com/taskiso/taskiso/cmd/taskiso")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building taskiso: %v\n%s", err, out)
	}
	return path
}
