// SPDX-License-Identifier: Apache-2.0

package noise

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/clock"
)

const loopEnvironment = "GODEBUG=asyncpreemptoff=1"

// TestMain runs the tests in an environment that is as the loop's in taskiso: no
// signals of Go's scheduler.
func TestMain(m *testing.M) {
	if cpu := os.Getenv(loopVariable); cpu != "" {
		if err := beLoop(cpu); err != nil {
			fmt.Fprintln(os.Stderr, "running a loop:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if slices.Contains(os.Environ(), loopEnvironment) {
		os.Exit(m.Run())
	}
	self, err := os.Executable()
	if err == nil {
		err = unix.Exec(self, os.Args, append(os.Environ(), loopEnvironment))
	}
	fmt.Fprintln(os.Stderr, "running the tests without preemption signals:", err)
	os.Exit(1)
}

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

// runOn runs a loop on a thread of its own that may run on one CPU only, and
// returns when it notes gaps, with a channel that is closed in the end.
func runOn(t *testing.T, cpu int, l *Loop) (ended chan struct{}) {
	t.Helper()
	ended = make(chan struct{})
	started := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its changed affinity
		pin(t, 0, cpu)
		close(started)
		var before, after unix.Rusage
		unix.Getrusage(unix.RUSAGE_THREAD, &before)
		l.Run()
		unix.Getrusage(unix.RUSAGE_THREAD, &after)
		// Others may have taken the CPU from it; it must not have given it up, but
		// for once or twice when the loop is over and Go's scheduler has waited for
		// that. A loop that can be preempted does it once in 10 or 20 ms.
		if n := after.Nvcsw - before.Nvcsw; n > 5 {
			t.Errorf("the loop gave up its CPU %d times", n)
		}
		close(ended)
	}()
	<-started
	l.record.Begin()
	return ended
}

// pin keeps a thread of ours on one CPU.
func pin(t *testing.T, thread, cpu int) {
	t.Helper()
	only, err := cpulist.New(cpu)
	if err == nil {
		err = affinity.Set(thread, only)
	}
	if err != nil {
		t.Errorf("pinning the loop to CPU %d: %v", cpu, err)
	}
}

// lastCPUs returns the CPUs that this process may use, the last one first.
func lastCPUs(t *testing.T) []int {
	t.Helper()
	allowed, err := affinity.Of(0)
	if err != nil {
		t.Fatal(err)
	}
	cpus := slices.Collect(allowed.All())
	slices.Reverse(cpus)
	return cpus
}

func lastCPU(t *testing.T) int { return lastCPUs(t)[0] }

// counters are those that every machine of this architecture has.
var counters = []Counter{cpuCounter, Clock}

func timedLoop(c Counter, threshold time.Duration) *Loop {
	l := NewLoop(c, threshold, new(Record))
	l.Timed = true
	return l
}

func checkState(t *testing.T, l *Loop, cpu int) State {
	t.Helper()
	s := l.record.State()
	if !l.record.Done() || s.CPU != int64(cpu) || s.Backwards != 0 || s.LostClock || s.Jumps != 0 || s.Samples == 0 {
		t.Errorf("done %t, state %+v of a loop on CPU %d", l.record.Done(), s, cpu)
	}
	if s.Total > s.Ran || s.Max > s.Total || s.Count > 0 && s.Max < l.threshold {
		t.Errorf("inconsistent gaps %+v", s)
	}
	var listed State
	at := s.Began
	l.record.Drain(func(g Gap) {
		listed.Count++
		listed.Total += g.Length
		listed.Max = max(listed.Max, g.Length)
		if g.Length < l.threshold-time.Nanosecond || g.At < at-10*time.Microsecond || g.End() > s.Began+s.Ran+10*time.Microsecond {
			t.Errorf("gap %+v after %v, in %v from %v on", g, at, s.Ran, s.Began)
		}
		at = g.End()
	})
	if l.record.Dropped() == 0 && (listed.Count != s.Count || listed.Total != s.Total || listed.Max != s.Max) {
		t.Errorf("listed are %+v, summed up %+v", listed, s)
	}
	if h := l.record.Histogram(); uint64(h.TotalCount()) != s.Count || s.Count > 0 && !h.ValuesAreEquivalent(h.Max(), int64(s.Max)) {
		t.Errorf("the histogram has %d gaps up to %d; there were %+v", h.TotalCount(), h.Max(), s)
	}
	return s
}

// While one of two loops runs on a CPU, the other sees a gap.
func TestLoopSeesThatAnotherRan(t *testing.T) {
	for _, c := range counters {
		t.Run(string(c), func(t *testing.T) {
			undisturbed(t, 2)
			cpu := lastCPU(t)
			const threshold = 100 * time.Microsecond
			a, b := timedLoop(c, threshold), timedLoop(c, threshold)
			endA, endB := runOn(t, cpu, a), runOn(t, cpu, b)
			time.Sleep(400 * time.Millisecond)
			a.record.Stop()
			b.record.Stop()
			<-endA
			<-endB
			sa, sb := checkState(t, a, cpu), checkState(t, b, cpu)
			if sa.Count == 0 || sb.Count == 0 {
				t.Errorf("gaps: %d and %d", sa.Count, sb.Count)
			}
			// What neither saw as its own time there was not: the CPU is but one.
			if own := sa.Ran - sa.Total + sb.Ran - sb.Total; own > max(sa.Ran, sb.Ran)*11/10 {
				t.Errorf("the two ran for %v together, on one CPU in %v", own, max(sa.Ran, sb.Ran))
			}
		})
	}
}

// With every reading a gap, the loop is in Go's code most of the time, and must not
// be preempted there either.
func TestLoopIsNotPreempted(t *testing.T) {
	for _, c := range counters {
		undisturbed(t, 1)
		l := timedLoop(c, 1)
		l.pace.slow = never // or the bookkeeping, under the race detector, is taken for a lost clock
		ended := runOn(t, lastCPU(t), l)
		time.Sleep(600 * time.Millisecond)
		for deadline := time.Now().Add(time.Minute); l.record.Dropped() == 0 && time.Now().Before(deadline); {
			time.Sleep(50 * time.Millisecond) // a slow host makes half as many gaps as there is room for in the time above
		}
		l.record.Stop()
		<-ended
		if checkState(t, l, lastCPU(t)); l.record.Dropped() == 0 {
			t.Errorf("%s: every reading was to be a gap; there were %d", c, l.record.State().Count)
		}
	}
}

// A loop that is moved tells so, even if it has come back in the end.
func TestMovedLoop(t *testing.T) {
	home := lastCPUs(t)
	if len(home) < 2 || !canTellCPU() {
		t.Skip("needs two CPUs that say who they are")
	}
	undisturbed(t, 1)
	for _, moves := range [][]int{{}, {home[1], home[0]}} {
		l := timedLoop(cpuCounter, time.Microsecond)
		thread, ended := make(chan int), make(chan struct{})
		go func() {
			defer close(ended)
			runtime.LockOSThread()
			pin(t, 0, home[0])
			thread <- unix.Gettid()
			l.Run()
		}()
		id := <-thread
		l.record.Begin()
		for _, cpu := range moves {
			time.Sleep(50 * time.Millisecond)
			pin(t, id, cpu)
			for range 1000 { // it needs a turn there
				if l.record.Moved() {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		time.Sleep(50 * time.Millisecond)
		l.record.Stop()
		<-ended
		if moved := l.record.Moved(); moved != (len(moves) > 0) || l.record.State().CPU != int64(home[0]) {
			t.Errorf("moved to %v: %t, in the end on CPU %d", moves, moved, l.record.State().CPU)
		}
	}
}

func TestLoopWithoutGaps(t *testing.T) {
	for _, c := range counters {
		undisturbed(t, 1)
		l := timedLoop(c, time.Hour)
		before := time.Now()
		ended := runOn(t, lastCPU(t), l)
		time.Sleep(20 * time.Millisecond)
		l.record.Stop()
		<-ended
		if s := checkState(t, l, lastCPU(t)); s.Count != 0 || s.Ran <= 0 || s.Ran > time.Since(before)*21/20 {
			t.Errorf("got %+v; want no gap of an hour", s)
		}
	}
}

func TestStoppedBeforeItRuns(t *testing.T) {
	l := NewLoop(cpuCounter, time.Microsecond, new(Record))
	l.record.Stop()
	l.Run()
	if s := l.record.State(); s.Ran > 10*time.Second {
		t.Errorf("ran for %v after it was stopped", s.Ran)
	}
}

// A loop that gets its CPU only some time after it was to begin has a gap there.
func TestLateLoop(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		l := timedLoop(cpuCounter, time.Microsecond)
		before := clock.Now()
		l.record.Begin()
		const late = 30 * time.Millisecond
		time.Sleep(late)
		if stopped { // and its end has come as well
			l.record.Stop()
		} else {
			time.AfterFunc(late, l.record.Stop)
		}
		l.Run()
		s := l.record.State()
		first := l.record.ring[0]
		if s.Count == 0 || first.Length < late || first.At < before || first.At > before+late || s.Began != first.At || s.Ran < first.Length {
			t.Errorf("stopped %v: %d gaps, the first %+v; began at %v, ran for %v; it was to begin after %v", stopped, s.Count, first, s.Began, s.Ran, before)
		}
	}
}

// The clock of gaps is that of the tracer, also where the loop reads one that is ahead of it.
func TestGapsAreOnTheKernelsClock(t *testing.T) {
	for _, c := range counters {
		for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
			checkClock(t, c, ahead)
		}
	}
}

func checkClock(t *testing.T, c Counter, ahead time.Duration) {
	t.Helper()
	l := timedLoop(c, time.Hour)
	l.ahead += ahead
	l.setAnchor()
	best := time.Hour
	for range 1000 {
		before := clock.Now()
		at := l.clock(c.read()) + ahead
		after := clock.Now()
		off := max(before-at, at-after, 0)
		best = min(best, off)
	}
	if best > 2*time.Microsecond {
		t.Errorf("%s, %v ahead: off by at least %v in a thousand attempts", c, ahead, best)
	}
}

// A counter that is set or runs at another rate is found.
func TestJumps(t *testing.T) {
	l := NewLoop(cpuCounter, time.Hour, new(Record))
	l.certain = never
	from := reading{at: 5e9, count: 7e9}
	for _, tc := range []struct {
		elapsed, counted time.Duration
		jumps            uint64
	}{
		{10 * time.Millisecond, 10 * time.Millisecond, 0},
		{time.Second, time.Second + 400*time.Microsecond, 0}, // steered by the kernel
		{10 * time.Millisecond, 10*time.Millisecond + 50*time.Microsecond, 1},
		{10 * time.Millisecond, -5 * time.Millisecond, 1},
		{time.Second, 1010 * time.Millisecond, 1},
	} {
		l.record.state.Jumps = 0
		l.anchor = from
		l.compare(reading{at: from.at + uint64(tc.elapsed), count: from.count + uint64(int64(float64(tc.counted)/l.scale))})
		if l.record.state.Jumps != tc.jumps {
			t.Errorf("counter went %v in %v: %d jumps, want %d", tc.counted, tc.elapsed, l.record.state.Jumps, tc.jumps)
		}
	}
}

// Readings that take too long are not believed, and counted as long as there is no
// other.
func TestDisturbedReadings(t *testing.T) {
	l := timedLoop(cpuCounter, time.Hour)
	l.certain = 50
	l.pace.speed.first = never // the CPU is not slower now
	for _, tc := range []struct {
		uncertain uint64
		disturbed int
	}{{51, 1}, {1000, 2}, {50, 0}, {51, 1}} {
		before := l.anchor
		l.compare(reading{at: 5e9, count: 7e9, uncertain: tc.uncertain})
		if believed := l.anchor != before; l.disturbed != tc.disturbed || believed != (tc.uncertain <= 50) {
			t.Errorf("a reading with %d counts in it: %d disturbed, believed: %t", tc.uncertain, l.disturbed, believed)
		}
		l.anchor = reading{}
	}
}

// A clock that has become slow ends the loop, however long the threshold is.
func TestLostClock(t *testing.T) {
	undisturbed(t, 1)
	for _, threshold := range []time.Duration{1, time.Hour} {
		l := timedLoop(Clock, threshold)
		l.pace.slow, l.pace.speed.first = 1, never // no clock is so fast, and the CPU is not slower now
		defer time.AfterFunc(10*time.Second, l.record.Stop).Stop()
		l.record.Begin()
		l.Run()
		if s := l.record.State(); !s.LostClock || s.Samples > 2*patience {
			t.Errorf("threshold %v: %+v", threshold, s)
		}
	}
	l := timedLoop(cpuCounter, 1)
	l.disturbed = tolerated + 1
	defer time.AfterFunc(10*time.Second, l.record.Stop).Stop()
	l.record.Begin()
	l.Run()
	if s := l.record.State(); !s.LostClock || s.Samples > 2*patience {
		t.Errorf("disturbed readings: %+v", s)
	}
}

// A reading is not slow for the kernel's sake where arithmetic is as slow.
func TestReadingsOnASlowCPU(t *testing.T) {
	for _, c := range counters {
		l := timedLoop(c, time.Hour)
		l.setAnchor()
		l.pace.speed.first /= 20 // so the CPU is 20 times slower now, or slower still
		p := &l.pace
		for range 10 * patience {
			p.take(10 * p.slow)
		}
		if p.lost() || l.isDisturbed(reading{uncertain: 10 * l.certain}) {
			t.Errorf("%s: readings that are 80 times slower are disturbed, on a CPU that is 20 times slower", c)
		}
		// The arithmetic that they are compared with is as slow if another task runs in it, which does not happen each time.
		slow := false
		for try := 0; !slow && try < 4; try++ {
			for range 10 * patience {
				p.take(100_000 * p.slow)
			}
			slow = p.lost() && l.isDisturbed(reading{uncertain: 100_000 * l.certain})
		}
		if !slow {
			t.Errorf("%s: those that are 800,000 times slower are not", c)
		}
	}
}

func TestScale(t *testing.T) {
	for _, c := range counters {
		if a, b := c.scale(), c.scale(); a <= 0 || a/b > 1.01 || b/a > 1.01 {
			t.Errorf("%s: %g and %g ns a count", c, a, b)
		}
	}
}

func TestSmallest(t *testing.T) {
	for _, c := range counters {
		smallest, sample := Smallest(c)
		if sample <= 0 || smallest < sample || smallest > 200*sample { // 50 under the race detector, and both are longer on a slow CPU
			t.Errorf("%s: a reading takes %v, smallest gap %v", c, sample, smallest)
		}
		t.Logf("%s: a reading takes %v, smallest gap %v", c, sample, smallest)
	}
}

func TestNothingIsDroppedSilently(t *testing.T) {
	r := new(Record)
	const more = 10
	for i := range ringGaps + more {
		r.note(Gap{At: time.Duration(i) * time.Second, Length: time.Microsecond})
	}
	if r.Dropped() != more || r.State().Count != ringGaps+more || r.Histogram().TotalCount() != ringGaps+more {
		t.Errorf("%d dropped, %d counted, %d in the histogram", r.Dropped(), r.State().Count, r.Histogram().TotalCount())
	}
	n := 0
	r.Drain(func(g Gap) {
		if g.At != time.Duration(n)*time.Second {
			t.Errorf("gap %d is %+v", n, g)
		}
		n++
	})
	r.note(Gap{Length: 2 * longestCounted})
	r.Drain(func(g Gap) { n++ })
	if n != ringGaps+1 {
		t.Errorf("%d gaps came, want %d", n, ringGaps+1)
	}
	if s := r.State(); s.Beyond != 1 || s.Max != 2*longestCounted || r.Histogram().TotalCount() != ringGaps+more {
		t.Errorf("a gap beyond the histogram: %+v", s)
	}
}

// The other process sees what the loop writes.
func TestSharedRecords(t *testing.T) {
	ours, err := NewShared(3)
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	fd, err := unix.Dup(int(ours.File.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := OpenShared(os.NewFile(uintptr(fd), "dup"))
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if len(ours.Records) != 3 || len(theirs.Records) != 3 {
		t.Fatalf("%d and %d records", len(ours.Records), len(theirs.Records))
	}
	for i, r := range ours.Records {
		r.note(Gap{At: time.Duration(i), Length: time.Duration(10 + i)})
	}
	for i, r := range theirs.Records {
		r.Drain(func(g Gap) {
			if g.At != time.Duration(i) || g.Length != time.Duration(10+i) {
				t.Errorf("gap %+v of record %d", g, i)
			}
		})
		if r.State().Count != 1 {
			t.Errorf("record %d has %+v", i, r.State())
		}
	}
}

func TestSpin(t *testing.T) {
	for _, c := range counters {
		var stop uint32
		p := pace{slow: never}
		before := c.read()
		from, to, samples := c.spin(before, 1, &stop, &p) // two readings are always apart, of a fast counter
		if from < before || to <= from || samples == 0 {
			t.Errorf("%s: gap from %d to %d after %d, %d samples", c, from, to, before, samples)
		}
		stop = 1
		if from, to, samples := c.spin(c.read(), never, &stop, &p); from != to || samples != 1 {
			t.Errorf("%s: stopped loop returned %d, %d, %d", c, from, to, samples)
		}
		// Time before the first reading counts.
		if from, to, samples := c.spin(before, 1, &stop, &p); from != before || to <= from || samples != 1 {
			t.Errorf("%s: gap from %d to %d, want one from %d on", c, from, to, before)
		}
	}
}
