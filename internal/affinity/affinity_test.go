// SPDX-License-Identifier: Apache-2.0

package affinity

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/proc"
)

// allowed is what the kernel shows of the calling thread.
func allowed(t *testing.T) cpulist.Set {
	t.Helper()
	status, err := proc.ReadStatus(os.DirFS("/"), proc.Thread(os.Getpid(), unix.Gettid()))
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := cpulist.ParseSysfs(status.Value("Cpus_allowed_list"))
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

func TestThisThread(t *testing.T) {
	runtime.LockOSThread() // never unlocked: if this fails, the thread ends
	before, err := Of(0)
	if err != nil {
		t.Fatal(err)
	}
	if shown := allowed(t); before != shown {
		t.Errorf("the thread may run on CPU %v, the kernel shows %v", before, shown)
	}
	last, _ := before.Last()
	if err := Pin(last); err != nil {
		t.Fatal(err)
	}
	if now := allowed(t); now.Len() != 1 || !now.Contains(last) {
		t.Errorf("pinned to CPU %d, and may run on %v", last, now)
	}
	if err := Set(unix.Gettid(), before); err != nil {
		t.Fatal(err)
	}
	if now := allowed(t); now != before {
		t.Errorf("set to CPU %v, and may run on %v", before, now)
	}
}

// TestManyCPUs: a mask longer than the kernel's own is taken, up to the largest there is.
func TestManyCPUs(t *testing.T) {
	runtime.LockOSThread() // as above
	before, err := Of(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, cpu := range []int{1023, 1024, 1100, cpulist.MaxCPU} {
		large, err := cpulist.New(cpu)
		if err != nil {
			t.Fatal(err)
		}
		if err := Set(0, before.Union(large)); err != nil {
			t.Error(err)
		}
		if now, err := Of(0); err != nil || now != before {
			t.Errorf("set to CPU %v and %d, and may run on %v (%v)", before, cpu, now, err)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, cpu := range []int{-1, cpulist.MaxCPU, cpulist.MaxCPU + 1, math.MaxInt} {
		err := Pin(cpu)
		if !errors.Is(err, unix.EINVAL) || !strings.HasPrefix(err.Error(), fmt.Sprintf("moving to CPU %d: ", cpu)) {
			t.Errorf("moving to CPU %d: %v", cpu, err)
		}
	}
	if err := Set(0, cpulist.Set{}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("no CPU: %v", err)
	}
	one, err := cpulist.New(0)
	if err != nil {
		t.Fatal(err)
	}
	if err := Set(-1, one); err == nil || !strings.Contains(err.Error(), "of thread -1 to CPU 0: ") {
		t.Errorf("no thread: %v", err)
	}
	if _, err := Of(-1); err == nil || !strings.Contains(err.Error(), "of thread -1: ") {
		t.Errorf("no thread: %v", err)
	}
}
