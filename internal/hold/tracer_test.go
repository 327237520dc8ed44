// SPDX-License-Identifier: Apache-2.0

package hold

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"
)

// parted is what a tracer reported.
type parted struct {
	how tracerState
	err error
}

// traceSleeper lets a tracer seize a process of one thread.
func traceSleeper(t *testing.T) (*exec.Cmd, *tracer, chan parted) {
	t.Helper()
	c := exec.Command("sleep", "600")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	reports := make(chan parted, 2)
	pid := c.Process.Pid
	files := os.DirFS("/")
	tr := newTracer(&thread{event: event{PID: pid, TID: pid}, files: files})
	tr.start(func(how tracerState, err error) { reports <- parted{how, err} })
	for deadline := time.Now().Add(10 * time.Second); tracerOf(files, pid, pid) == 0; time.Sleep(time.Millisecond) {
		select {
		case p := <-reports:
			t.Skipf("a process cannot be traced here: %v", p.err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("it is not seized")
		}
	}
	return c, tr, reports
}

func (p parted) want(t *testing.T, how tracerState) {
	t.Helper()
	// Only root may set the nice value.
	if p.how != how || p.err != nil && os.Geteuid() == 0 {
		t.Errorf("parted as %q (%v), want %q", p.how, p.err, how)
	}
}

// next waits for a report.
func next(t *testing.T, reports chan parted) parted {
	t.Helper()
	select {
	case p := <-reports:
		return p
	case <-time.After(10 * time.Second):
		t.Fatal("the tracer reports nothing")
		return parted{}
	}
}

// A process that a signal ends, and one that is killed: neither is taken for one that waits.
func TestTracerSeesTheEnd(t *testing.T) {
	machine := os.DirFS("/")
	for signal, how := range map[unix.Signal]tracerState{unix.SIGTERM: left, unix.SIGINT: left, unix.SIGKILL: died} {
		c, _, reports := traceSleeper(t)
		was := lifeOf(machine, c.Process.Pid, c.Process.Pid)
		if was.hasEnded(lifeOf(machine, c.Process.Pid, c.Process.Pid)) {
			t.Errorf("%+v is taken for the end", was)
		}
		if err := c.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		next(t, reports).want(t, how)
		for deadline := time.Now().Add(5 * time.Second); !was.hasEnded(lifeOf(machine, c.Process.Pid, c.Process.Pid)); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%v: it lives as %+v", signal, lifeOf(machine, c.Process.Pid, c.Process.Pid))
			}
		}
	}
}

// A thread that is told to go on before it has stopped is left alone, and not stopped where it is.
func TestTracerLeavesAlone(t *testing.T) {
	machine := os.DirFS("/")
	c, tr, reports := traceSleeper(t)
	tr.release()
	next(t, reports).want(t, freed)
	for deadline := time.Now().Add(5 * time.Second); tracerOf(machine, c.Process.Pid, c.Process.Pid) != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is still traced")
		}
	}
	for deadline := time.Now().Add(5 * time.Second); lifeOf(machine, c.Process.Pid, c.Process.Pid).state != "S"; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%+v, want it asleep as before", lifeOf(machine, c.Process.Pid, c.Process.Pid))
		}
	}
}

// A tracer waits for another of ours that had the thread and ends, and not for one that keeps it.
func TestTracerWaitsForTheOneBefore(t *testing.T) {
	for name, keeps := range map[string]time.Duration{"ends": takenOver / 10, "keeps it": time.Minute} {
		c, before, reports := traceSleeper(t)
		pid := c.Process.Pid
		time.AfterFunc(keeps, before.release)
		seized := make(chan error, 1)
		began := time.Now()
		go onOwnThread(func() {
			seized <- (&thread{event: event{PID: pid, TID: pid}, files: os.DirFS("/")}).seize()
		})
		select {
		case err := <-seized:
			took := time.Since(began)
			switch { // on a host that is busy the one before can take longer to end
			case err != nil && (took < takenOver || !errors.Is(err, unix.EPERM)):
				t.Errorf("the one before %s: %v after %v, want nothing before %v", name, err, took, takenOver)
			case err == nil && keeps > takenOver:
				t.Errorf("the one before %s: it is traced by two", name)
			}
		case <-time.After(takenOver + 10*time.Second):
			t.Errorf("the one before %s: it still waits", name)
		}
		before.release()
		next(t, reports).want(t, freed)
	}
}

// A tracer of ours that ends between the look for it and that among our threads is not another's.
func TestTracerThatEndsIsOurs(t *testing.T) {
	const ended = 999
	status := func(tracer int) *fstest.MapFile {
		return &fstest.MapFile{Data: fmt.Appendf(nil, "TracerPid:\t%d\n", tracer)}
	}
	for after, want := range map[int]bool{0: true, 1000: true, ended: false} {
		machine := fstest.MapFS{"proc/7/task/8/status": status(ended)}
		among := fmt.Sprintf("proc/%d/task/%d", os.Getpid(), ended)
		files := &interposed{FS: machine, before: func() { machine["proc/7/task/8/status"] = status(after) }}
		files.name.Store(&among)
		if got := (&thread{event: event{PID: 7, TID: 8}, files: files}).isOurs(); got != want {
			t.Errorf("traced by %d, which is no thread of ours, then by %d: ours %v, want %v", ended, after, got, want)
		}
	}
}

// shownThread is a thread whose tracer is shown one place after the other.
type shownThread struct {
	places []place
	signal unix.Signal // 0: that of the hook
	did    []string
}

func (s *shownThread) look() (place, unix.Signal, error) {
	if len(s.places) == 0 {
		return runs, 0, nil
	}
	at := s.places[0]
	s.places = s.places[1:]
	return at, s.signal, nil
}

func (s *shownThread) do(what string) error { s.did = append(s.did, what); return nil }

func (s *shownThread) seize() error                   { return nil }
func (s *shownThread) listen() error                  { return s.do("listen") }
func (s *shownThread) wake() error                    { return s.do("wake") }
func (s *shownThread) drop() error                    { return s.do("drop") }
func (s *shownThread) detach(unix.Signal) error       { return s.do("detach") }
func (s *shownThread) goOn(unix.Signal) error         { return s.do("go on") }
func (s *shownThread) toCall(unix.Signal) error       { return s.do("to call") }
func (s *shownThread) remake() error                  { return s.do("remake") }
func (s *shownThread) passFilters() bool              { return s.do("pass filters") == nil }
func (s *shownThread) isAtItsCall() bool              { return true }
func (s *shownThread) isFromHook(unix.Signal) bool    { return s.signal == 0 }
func (s *shownThread) doesNothing(n unix.Signal) bool { return n == unix.SIGCHLD }
func (s *shownThread) hasSignal() bool                { return false }

// A thread that is released while it is being stopped makes its call past its filters, as one that was stopped does: their
// agent has been asked about that call already.
func TestTracerOfOneThatIsBeingStopped(t *testing.T) {
	for name, releasedFirst := range map[string]bool{"released before its signal was shown": true, "released before it stopped": false} {
		thread := &shownThread{places: []place{atSignal, runs, atStop, atCall, atCall}}
		tr := newTracer(thread)
		tr.seize()
		if releasedFirst {
			tr.release()
		}
		tr.look()
		tr.release()
		for range 4 {
			tr.look()
		}
		if got, want := strings.Join(thread.did, ", "), "drop, remake, pass filters, to call, to call, detach"; got != want || tr.state != freed {
			t.Errorf("%s: it did %q and is %s, want %q", name, got, tr.state, want)
		}
	}
}

// SIGCONT from whoever has a thread that is seized stop for its tracer: without its signal first.
func TestTracerOfOneThatIsContinued(t *testing.T) {
	thread := &shownThread{places: []place{atStop, runs, atStop, atCall, atCall}}
	tr := newTracer(thread)
	tr.seize()
	tr.look()
	if tr.state != stopped {
		t.Errorf("it is %s, want it stopped", tr.state)
	}
	tr.release()
	for range 4 {
		tr.look()
	}
	if got, want := strings.Join(thread.did, ", "), "remake, listen, wake, pass filters, to call, to call, detach"; got != want || tr.state != freed {
		t.Errorf("it did %q and is %s, want %q", got, tr.state, want)
	}
}

// The same of one that is released before that is seen: the stop may have ended its wait for another thread's load.
func TestTracerOfOneThatIsContinuedAndReleased(t *testing.T) {
	thread := &shownThread{places: []place{atStop, atCall, atCall}}
	tr := newTracer(thread)
	tr.seize()
	tr.release()
	for range 3 {
		tr.look()
	}
	if got, want := strings.Join(thread.did, ", "), "remake, pass filters, to call, to call, detach"; got != want || tr.state != freed {
		t.Errorf("it did %q and is %s, want %q", got, tr.state, want)
	}
}

// A signal that does nothing comes to a traced thread, and to no other: it neither ends a wait nor has filters asked again.
func TestTracerOfOneWithASignalThatDoesNothing(t *testing.T) {
	for _, tc := range []struct {
		name   string
		signal unix.Signal
		places []place
		did    string
	}{
		{"before it stops", unix.SIGCHLD, []place{atSignal, atStop, atCall, atCall}, "remake, go on, remake, pass filters, to call, to call, detach"},
		{"on the way to its call", unix.SIGCHLD, []place{atStop, atSignal, atSignal, atCall, atCall}, "remake, pass filters, to call, to call, to call, to call, detach"},
		{"a handler, on the way to its call", unix.SIGUSR1, []place{atStop, atSignal}, "remake, pass filters, to call, detach"},
	} {
		thread := &shownThread{places: tc.places, signal: tc.signal}
		tr := newTracer(thread)
		tr.seize()
		if tc.places[0] == atSignal {
			tr.look()
		}
		tr.release()
		for range tc.places {
			tr.look()
		}
		if got := strings.Join(thread.did, ", "); got != tc.did || tr.state != freed {
			t.Errorf("%s: it did %q and is %s, want %q", tc.name, got, tr.state, tc.did)
		}
	}
}

// Nothing that a tracer sees leaves a thread stopped: what its table has no line for ends it.
func TestTracerEndsForWhatHasNoLine(t *testing.T) {
	thread := &shownThread{places: []place{atStop}}
	tr := newTracer(thread)
	tr.find = func(in tracerState, on tracerEvent) (transition[tracerState, tracerEvent, tracerAction], bool) {
		line, listed := tracerLines.find(in, on)
		return line, listed && on != sawStop
	}
	tr.seize()
	tr.look()
	if tr.state != left || tr.err == nil || !strings.Contains(tr.err.Error(), string(sawStop)) {
		t.Errorf("it is %s (%v), want it gone, with an error that names what it saw", tr.state, tr.err)
	}
}

// A thread that has stopped for its tracer goes on only by what the tracer does, or by its end: no line takes a stop
// and leaves it at that, and each stop that a state can meet has a line.
func TestTracerDoesSomethingAboutEachStop(t *testing.T) {
	stops := []tracerEvent{sawStop, sawStopToGo, sawHookSignal, sawSignal, sawNothing, sawCall, sawOtherCall}
	cannotBe := func(in tracerState, on tracerEvent) bool {
		switch on {
		case sawHookSignal:
			return in != seized // tracer.seen: it is one signal among others to all other states
		case sawCall:
			return in != calling // the same
		case sawNothing:
			return in != seized && in != calling // the same
		case sawStop:
			return in == calling || in == called // it was released before, and that is for good
		}
		return false
	}
	for _, in := range []tracerState{seized, halting, stopped, waking, calling, called} {
		for _, on := range stops {
			line, listed := tracerLines.find(in, on)
			if cannotBe(in, on) == listed {
				t.Errorf("in state %q: %q has a line: %v", in, on, listed)
			}
			if listed && !line.to.isGone() && len(line.do) == 0 {
				t.Errorf("in state %q nothing is done about %q, and the thread stays stopped", in, on)
			}
		}
	}
}

// Another thread's life is not that of one whose number it has.
func TestLifeIsOfOneThread(t *testing.T) {
	was := life{"S", "100"}
	for now, want := range map[life]bool{{"R", "100"}: false, {"t", "100"}: false, {"Z", "100"}: true, {"X", "100"}: true, {"S", "101"}: true, {}: true} {
		if got := was.hasEnded(now); got != want {
			t.Errorf("%+v: ended %v, want %v", now, got, want)
		}
	}
}
