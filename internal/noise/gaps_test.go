// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// undisturbed lets loops run beside other goroutines: a loop keeps a processor
// of Go's scheduler and does not stop for the garbage collector, which would
// wait for it with everybody else, the timer that is to end the loop included.
func undisturbed(t *testing.T, loops int) {
	t.Helper()
	procs, gc := runtime.GOMAXPROCS(loops+2), debug.SetGCPercent(-1)
	t.Cleanup(func() {
		runtime.GOMAXPROCS(procs)
		debug.SetGCPercent(gc)
	})
}

// runOn runs a loop on a thread of its own that may run on one CPU only.
func runOn(t *testing.T, cpu int, l *Loop) <-chan Gaps {
	t.Helper()
	seen := make(chan Gaps, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its changed affinity
		var set unix.CPUSet
		set.Set(cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			t.Errorf("pinning the loop: %v", err)
		}
		seen <- l.Run()
	}()
	return seen
}

func anyCPU(t *testing.T) int {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	for cpu := range 1024 {
		if set.IsSet(cpu) {
			return cpu
		}
	}
	t.Fatal("this thread may run nowhere")
	return -1
}

// While one of two loops runs on a CPU, the other sees a gap.
func TestLoopSeesThatAnotherRan(t *testing.T) {
	undisturbed(t, 2)
	cpu := anyCPU(t)
	const threshold = 100 * time.Microsecond
	loops := []*Loop{NewLoop(threshold), NewLoop(threshold)}
	seen := []<-chan Gaps{runOn(t, cpu, loops[0]), runOn(t, cpu, loops[1])}
	time.Sleep(400 * time.Millisecond)
	for _, l := range loops {
		l.Stop()
	}
	a, b := <-seen[0], <-seen[1]
	for _, g := range []Gaps{a, b} {
		if g.Count == 0 || g.Max < threshold || g.Total < g.Max || g.Total > g.Ran {
			t.Errorf("inconsistent gaps: %d, longest %v, together %v of %v", g.Count, g.Max, g.Total, g.Ran)
		}
		for i, n := range g.Histogram {
			from, below := time.Duration(1)<<i, time.Duration(2)<<i
			if i < 62 && n > 0 && (from > g.Max || below <= threshold) {
				t.Errorf("%d gaps from %v to %v, with a longest of %v and a threshold of %v", n, from, below, g.Max, threshold)
			}
		}
	}
	// What neither saw as its own time there was not: the CPU is but one.
	if own := a.Ran - a.Total + b.Ran - b.Total; own > max(a.Ran, b.Ran)*11/10 {
		t.Errorf("the two ran for %v together, on one CPU in %v", own, max(a.Ran, b.Ran))
	}
}

func TestLoopWithoutGaps(t *testing.T) {
	undisturbed(t, 1)
	l := NewLoop(time.Hour)
	seen := runOn(t, anyCPU(t), l)
	time.Sleep(20 * time.Millisecond)
	l.Stop()
	if g := <-seen; g.Count != 0 || g.Total != 0 || g.Max != 0 || g.Ran <= 0 {
		t.Errorf("got %d gaps, longest %v, in %v; want none of an hour", g.Count, g.Max, g.Ran)
	}
}

func TestStoppedBeforeItRuns(t *testing.T) {
	l := NewLoop(time.Microsecond)
	l.Stop()
	if g := l.Run(); g.Ran > 10*time.Second {
		t.Errorf("ran for %v after it was stopped", g.Ran)
	}
	if l.Threshold() != time.Microsecond {
		t.Errorf("threshold %v", l.Threshold())
	}
}

// The counter's scale comes out alike each time.
func TestCalibration(t *testing.T) {
	a, b := calibrate(), calibrate()
	if a <= 0 || a/b > 1.01 || b/a > 1.01 {
		t.Errorf("%g and %g ns a count", a, b)
	}
}
