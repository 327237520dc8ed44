// SPDX-License-Identifier: Apache-2.0

package claim

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/cpulist"
)

// holderVariable makes this test binary claim CPU 1 in a directory until it is killed.
const holderVariable = "TASKISO_TEST_CLAIM"

func TestMain(m *testing.M) {
	if dir := os.Getenv(holderVariable); dir != "" {
		if _, err := CPUs(dir, cpus(1)); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("claimed")
		os.Stdin.Read(make([]byte, 1))
		return
	}
	m.Run()
}

func cpus(n ...int) cpulist.Set {
	set, err := cpulist.New(n...)
	if err != nil {
		panic(err)
	}
	return set
}

func TestOneRunHasACPU(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "cpus")
	release, err := CPUs(dir, cpus(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	// None of several is kept when one is in use.
	for range 2 {
		_, err = CPUs(dir, cpus(2, 3))
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprintf("CPU 3: taskiso process %d is using it; name another CPU with -c, or wait until it ends", os.Getpid())) {
			t.Errorf("error %v, want one that names the process", err)
		}
	}
	two, err := CPUs(dir, cpus(2))
	if err != nil {
		t.Errorf("CPU 2, refused before for CPU 3: %v", err)
	} else {
		two()
	}
	release()
	again, err := CPUs(dir, cpus(1, 2, 3))
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	again()
}

func TestClaimEndsWithItsProcess(t *testing.T) {
	dir := t.TempDir()
	holder := exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holderVariable+"="+dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.StdinPipe(); err != nil { // open until the end
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make([]byte, 100)
	if n, err := out.Read(ready); err != nil || string(ready[:n]) != "claimed\n" {
		t.Errorf("the holder printed %q, error %v", ready[:n], err)
	}
	if _, err := CPUs(dir, cpus(1)); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), fmt.Sprint(holder.Process.Pid)) {
		t.Errorf("error %v, want one that names process %d", err, holder.Process.Pid)
	}
	holder.Process.Kill()
	holder.Wait()
	release, err := CPUs(dir, cpus(1))
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	release()
}

// Locks are only where nobody else can write.
func TestDirectoryOfOthersIsRefused(t *testing.T) {
	top := t.TempDir()
	open := filepath.Join(top, "open")
	link := filepath.Join(top, "link")
	file := filepath.Join(top, "file")
	err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777), os.Symlink(t.TempDir(), link), os.WriteFile(file, nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	dirs := []string{open, link, file}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(top, "foreign")
		if err := errors.Join(os.Mkdir(foreign, 0o755), os.Chown(foreign, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, foreign)
	}
	for _, dir := range dirs {
		release, err := CPUs(dir, cpus(1))
		if err == nil {
			release()
			t.Errorf("locks were made in %s", dir)
		} else if !strings.Contains(err.Error(), dir) {
			t.Errorf("error %q does not name %s", err, dir)
		}
	}
	inside := filepath.Join(top, "inside")
	if err := errors.Join(os.Mkdir(inside, 0o755), os.Symlink(file, filepath.Join(inside, "cpu1.lock"))); err != nil {
		t.Fatal(err)
	}
	if _, err := CPUs(inside, cpus(1)); err == nil {
		t.Error("a lock was followed to another file")
	}
}

func TestDir(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/1000")
	want := "/run/user/1000/taskiso"
	if os.Geteuid() == 0 {
		want = filepath.Join(runDir, "cpus")
	}
	if got := Dir(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	t.Setenv("XDG_RUNTIME_DIR", "relative")
	if got := Dir(); os.Geteuid() != 0 && got != "" {
		t.Errorf("%q for a user without a directory of his own", got)
	}
}
