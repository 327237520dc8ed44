// SPDX-License-Identifier: Apache-2.0

package taskiso

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
)

// Both sides of the interface have the same causes and places.
func TestCausesAreThoseOfTheHeader(t *testing.T) {
	text, err := os.ReadFile("include/taskiso/taskiso.h")
	if err != nil {
		t.Fatal(err)
	}
	constants := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^\t(TASKISO_[A-Z_]+) = (\d+),`).FindAllStringSubmatch(string(text), -1) {
		constants[m[1]] = m[2]
	}
	goNames := []string{"NONE", "SYSCALL", "PAGE_FAULT", "TIMER", "RESCHEDULE", "CALL", "IRQ_WORK", "VECTOR", "IRQ", "NMI", "TASK", "SIGNAL", "MOVED", "UNNAMED", "UNWATCHED"}
	if len(constants) != len(goNames) || len(causeNames) != len(goNames) || int(Unwatched) != len(goNames)-1 {
		t.Errorf("%d causes in the header, %d here with %d names", len(constants), Unwatched+1, len(causeNames))
	}
	for n, name := range goNames {
		if constants["TASKISO_"+name] != fmt.Sprint(n) {
			t.Errorf("TASKISO_%s is %s in the header, %d here", name, constants["TASKISO_"+name], n)
		}
		if !strings.Contains(string(text), `"`+causeNames[n]+`"`) {
			t.Errorf("the header does not say %q", causeNames[n])
		}
	}
}

func TestOpenWithoutTaskiso(t *testing.T) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		before := mayRunOn(t)
		_, err := Open(0)
		if err == nil {
			err = errors.New("no error")
		}
		if now := mayRunOn(t); now != before {
			t.Errorf("Open failed and left the thread on %v, not on %v", now, before)
		}
		done <- err
	}()
	if err := <-done; !errors.Is(err, ErrNotSupported) || !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "taskiso run") {
		t.Errorf("Open without taskiso: %v", err)
	}
	if err := (&Thread{}).Enter(t.Context(), syscall.Signal(65)); !errors.Is(err, unix.EINVAL) {
		t.Errorf("signal 65: %v", err)
	}
	if err := (&Thread{}).Enter(t.Context(), 0); !errors.Is(err, ErrNotIsolated) {
		t.Errorf("Enter without taskiso: %v", err)
	}
}

func mayRunOn(t *testing.T) cpulist.Set {
	t.Helper()
	cpus, err := affinity.Of(0)
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

// Whoever has opened a thread gives it back as it was.
func TestPinAndClose(t *testing.T) {
	runtime.LockOSThread() // never unlocked: if this fails, the thread ends
	before := mayRunOn(t)
	last, _ := before.Last()
	opened := &Thread{}
	var err error
	if opened.before, err = pin(last); err != nil {
		t.Fatal(err)
	}
	if now := mayRunOn(t); now.Len() != 1 || !now.Contains(last) {
		t.Errorf("pinned to CPU %d, and may run on CPU %v", last, now)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
	if now := mayRunOn(t); now != before {
		t.Errorf("closed, and may run on %v, not on %v", now, before)
	}
	for _, cpu := range []int{-1, 1023, 1100, 8000, 1 << 16} {
		if before.Contains(cpu) {
			continue
		}
		if _, err := pin(cpu); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), fmt.Sprintf("moving to CPU %d", cpu)) {
			t.Errorf("on CPU %d: %v", cpu, err)
		}
	}
	if now := mayRunOn(t); now != before {
		t.Errorf("failed, and may run on %v, not on %v", now, before)
	}
}

func TestGoProblems(t *testing.T) {
	for _, tc := range []struct {
		godebug string
		gc      uint64
		procs   int
		want    []string
	}{
		{"", 100, 1, []string{"asyncpreemptoff=1", "garbage collection", "GOMAXPROCS"}},
		{"gctrace=1,asyncpreemptoff=1", gcOff, 2, nil},
		{"asyncpreemptoff=0", gcOff, 2, []string{"asyncpreemptoff=1"}},
	} {
		got := goProblems(tc.godebug, tc.gc, tc.procs)
		if len(got) != len(tc.want) {
			t.Errorf("%+v: %q", tc, got)
			continue
		}
		for i, want := range tc.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%+v: %q", tc, got)
			}
		}
	}
	if gcPercent() == gcOff {
		t.Error("the collector of this test is off")
	}
}

func TestCPUProblems(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	for _, tc := range []struct {
		files fstest.MapFS
		want  string
	}{
		{fstest.MapFS{"nohz_full": file("2-3\n"), "isolated": file("2-3\n")}, ""},
		{fstest.MapFS{"nohz_full": file("(null)\n"), "isolated": file("3\n")}, "nohz_full=3"},
		{fstest.MapFS{"isolated": file("3\n")}, "nohz_full=3"},
		{fstest.MapFS{"nohz_full": file("3\n"), "isolated": file("\n")}, "isolcpus=domain,managed_irq,3"},
		{fstest.MapFS{"nohz_full": file("three\n"), "isolated": file("3\n")}, "is not known"},
	} {
		if got := strings.Join(cpuProblems(tc.files, 3), "; "); (tc.want == "") != (got == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%v: %q, want %q", tc.files, got, tc.want)
		}
	}
}
