// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso"
	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/report"
)

// Addresses of functions, and of the patcher's three return addresses.
const (
	syncCore = 0x1000
	other    = 0x2000
	patcher  = 0x3000
)

type symbols struct{}

func (symbols) Function(addr uint64) string {
	switch addr &^ 0xfff {
	case syncCore:
		return "do_sync_core"
	case patcher:
		return "smp_text_poke_batch_finish"
	}
	return "other_function"
}

const cpu = 3

// streamOf makes a stream for the CPU under test of words: names of tracepoints,
// "sync" and "csd" for the beginning of a called function, "done" for the end of
// do_sync_core, and "poke1".."poke3" for the steps of a patch.
func streamOf(t *testing.T, words string) []event.Event {
	t.Helper()
	var all []event.Event
	for i, word := range strings.Fields(words) {
		e := event.Event{Time: time.Duration(i+1) * time.Millisecond, CPU: cpu}
		switch word {
		case "sync":
			e.Kind, e.A = event.CSDEnter, syncCore
		case "csd":
			e.Kind, e.A = event.CSDEnter, other
		case "done":
			e.Kind, e.A = event.CSDExit, syncCore
		case "poke1", "poke2", "poke3":
			e.Kind, e.CPU, e.A, e.B = event.SendCall, 0, cpu, syncCore
			e.Sender = &event.Sender{Stack: []uint64{other, patcher + uint64(word[4]), other}}
		default:
			e.Kind = kindOf(t, word)
		}
		all = append(all, e)
	}
	return all
}

func kindOf(t *testing.T, name string) event.Kind {
	t.Helper()
	for k := range event.Kinds() {
		if k.String() == name {
			return k
		}
	}
	t.Fatalf("no tracepoint %q", name)
	return 0
}

func sees(int, event.Kind, bool) string { return "" }

func never(int, event.Kind) bool { return false }

func checker(t *testing.T, name string, blind Blind) *Checker {
	t.Helper()
	m, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := cpulist.New(cpu)
	if err != nil {
		t.Fatal(err)
	}
	return NewChecker([]*Monitor{m}, cpus, symbols{}, blind)
}

func check(t *testing.T, name, words string) report.Monitor {
	t.Helper()
	c := checker(t, name, sees)
	c.Add(event.Batch{Events: streamOf(t, words), Until: time.Hour}, 0)
	return c.Results(0, never)[0]
}

func TestQuietUser(t *testing.T) {
	const kernel, ipi, end = "user_enter user_exit sys_enter ", "call_function_entry ", "call_function_exit "
	for words, violations := range map[string]uint64{
		"": 0,
		"user_enter user_exit local_timer_entry local_timer_exit user_enter":  0,
		"user_enter user_exit " + ipi + "csd " + end + "user_enter":           0, // of another kind
		"user_enter user_exit " + ipi + "sync " + end + "user_enter":          1,
		"user_exit call_function_single_entry sync call_function_single_exit": 1, // its entry was not seen
		"user_enter user_exit " + ipi + "sync csd sync " + end + "user_enter": 2, // both in one interrupt
		"user_exit " + ipi + end + ipi + "sync " + end + "user_enter":         0, // one came while it was in the kernel
		kernel + ipi + "sync " + end + "user_enter":                           0, // so was it
		"user_enter user_exit local_timer_entry " + ipi + "sync " + end:       0,
		"sync user_enter": 0, // what it was doing before is not known
		strings.Repeat("user_enter user_exit "+ipi+"sync "+end, 9): 9,
	} {
		m := check(t, "quiet_user", words)
		want := report.MonitorSatisfied
		if violations > 0 {
			want = report.MonitorViolated
		}
		if m.Violations != violations || m.Verdict != want || m.Monitor != "quiet_user" || m.CPU != cpu {
			t.Errorf("%s: %+v, want %d violations", words, m, violations)
		}
	}
}

// What the storm of isolation would show of each mistake.
func TestIsolation(t *testing.T) {
	const cycle, told = "isolated left ", "isolated broken signal_deliver "
	for words, violations := range map[string]uint64{
		"":                                0,
		cycle + told + cycle:              0,
		told + cycle + told:               0,
		told + "isolated left broken":     1, // a break after it left
		told + "isolated broken isolated": 1, // never notified
		told + "signal_deliver":           1, // notified twice
		cycle + "signal_deliver":          1, // notified after it left
		told + "isolated isolated":        1, // an end is missing
		told + "isolated broken left":     1, // it left, and was not notified before
		told + "isolated broken broken":   1,
	} {
		if m := check(t, "isolation", words); m.Violations != violations {
			t.Errorf("%s: %+v, want %d violations", words, m, violations)
		}
	}
}

// Isolation is a thread's, and only the signal that it asked for is its break's.
func TestIsolationIsOfAThread(t *testing.T) {
	const asked = 10
	isolated := func(tid uint32, cpu int) event.Event {
		return event.Event{Kind: event.Isolated, TID: tid, CPU: cpu, A: uint64(tid), B: asked}
	}
	broken := func(tid uint32) event.Event {
		return event.Event{Kind: event.Broken, TID: tid, CPU: cpu, A: uint64(tid)}
	}
	bySignal := func(tid uint32, sig uint64) event.Event {
		return event.Event{Kind: event.Broken, TID: tid, CPU: cpu, A: uint64(tid) | 1<<32, B: uint64(taskiso.Signal), C: sig}
	}
	signal := func(tid uint32, on int, sig, code uint64) event.Event {
		return event.Event{Kind: event.Signal, TID: tid, CPU: on, A: sig, B: code, C: 99}
	}
	ours := func(tid uint32, on int) event.Event { return signal(tid, on, asked, 0x80) }
	const other = 1 // CPU that is not checked
	for _, tc := range []struct {
		name       string
		events     []event.Event
		violations uint64
	}{
		{"signals when nobody is isolated", []event.Event{signal(7, cpu, 11, 0), ours(8, cpu)}, 0},
		{"of another number", []event.Event{isolated(7, cpu), broken(7), signal(7, cpu, 12, 0), ours(7, cpu), signal(7, cpu, 12, 0)}, 0},
		{"of another thread", []event.Event{isolated(7, cpu), broken(7), ours(8, cpu), isolated(7, cpu)}, 1},
		{"delivered on another CPU", []event.Event{isolated(7, cpu), broken(7), ours(7, other), isolated(7, cpu)}, 0},
		{"two threads in turn", []event.Event{isolated(7, cpu), broken(7), isolated(8, cpu), ours(7, other), broken(8), ours(8, cpu)}, 0},
		{"isolated elsewhere", []event.Event{isolated(7, other), broken(7), broken(7)}, 0},
		{"broken by a signal", []event.Event{isolated(7, cpu), bySignal(7, 15), signal(7, cpu, 15, 0), isolated(7, cpu)}, 0},
		{"... and signalled as well", []event.Event{isolated(7, cpu), bySignal(7, 15), signal(7, cpu, 15, 0), ours(7, cpu)}, 1},
		{"others send one of that number", []event.Event{isolated(7, cpu), bySignal(7, asked), signal(7, cpu, asked, 0), isolated(7, cpu)}, 0},
		{"... when it is not isolated", []event.Event{isolated(7, cpu), broken(7), ours(7, cpu), signal(7, cpu, asked, 0)}, 0},
		{"signalled twice", []event.Event{isolated(7, cpu), broken(7), ours(7, cpu), ours(7, cpu)}, 1},
		{"its number is used again", []event.Event{isolated(7, cpu), broken(7), {Kind: event.Exit, TID: 7, CPU: cpu}, isolated(7, cpu)}, 0},
	} {
		c := checker(t, "isolation", sees)
		c.Add(event.Batch{Events: tc.events, Until: time.Hour}, 0)
		if m := c.Results(0, never)[0]; m.Violations != tc.violations {
			t.Errorf("%s: %+v, want %d violations", tc.name, m, tc.violations)
		}
	}
}

// Where no thread was isolated there is nothing to judge; one, on any CPU, is enough.
func TestIsolationOfNobody(t *testing.T) {
	cpus, err := cpulist.New(cpu, 1)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Load("isolation")
	if err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"":                report.MonitorUnknown,
		"signal_deliver ": report.MonitorUnknown,
		"isolated left ":  report.MonitorSatisfied,
	} {
		c := NewChecker([]*Monitor{m}, cpus, symbols{}, sees)
		c.Add(event.Batch{Events: streamOf(t, words), Until: time.Hour}, 0)
		for _, m := range c.Results(0, never) {
			if m.Verdict != want || (want == report.MonitorUnknown) != slices.Contains(m.Reasons, noThread) {
				t.Errorf("%q: %+v, want %s", words, m, want)
			}
		}
	}
}

// A loss makes what threads are in unknown, wherever it was.
func TestIsolationAfterALoss(t *testing.T) {
	c := checker(t, "isolation", sees)
	c.Add(event.Batch{Events: streamOf(t, "isolated broken"), Until: time.Second}, 0)
	c.Add(event.Batch{Until: time.Second, Lost: map[int]uint64{0: 1}}, 0)
	c.Add(event.Batch{Events: streamOf(t, "isolated left"), Until: time.Hour}, 0)
	if m := c.Results(0, never)[0]; m.Verdict != report.MonitorUnknown || m.Violations > 0 || m.Lost != 1 {
		t.Errorf("%+v", m)
	}
}

func TestPoke3(t *testing.T) {
	const patch = "poke1 sync done poke2 sync done poke3 sync done "
	const short = "poke1 done poke3 done "
	for words, violations := range map[string]uint64{
		"":                                 0,
		patch + patch + short:              0,
		short + short + patch:              0,
		"poke3 done " + patch:              0, // joined in the middle
		"done done " + patch:               0, // others synchronise too
		patch + "done " + patch:            0,
		patch + patch + "poke1 poke2 done": 1, // did not wait
		patch + "poke1 done poke2 poke3 done done":  1,
		"poke1 done poke1 done poke1 done":          1, // so did each of these, and the first is not known
		patch + "poke1 done " + patch:               1, // ended after the breakpoint
		patch + "poke1 done poke2 done poke3 poke1": 1,
	} {
		if m := check(t, "poke3", words); m.Violations != violations {
			t.Errorf("%s: %+v, want %d violations", words, m, violations)
		}
	}
}

// A loss never makes a correct stream a violation, and never makes a wrong stream satisfied.
func TestLossNeverGivesAVerdict(t *testing.T) {
	const patches = "poke1 sync done poke2 sync done poke3 sync done poke1 sync done poke3 sync done poke1 sync done poke2 sync done poke3 sync done"
	for name, words := range map[string]string{
		"poke3":      patches,
		"quiet_user": "user_enter user_exit sys_enter call_function_entry sync call_function_exit user_enter user_exit local_timer_entry user_enter",
	} {
		all := streamOf(t, words)
		for from := range all {
			for to := from + 1; to <= len(all); to++ {
				c := checker(t, name, sees)
				c.Add(event.Batch{Events: all[:from], Until: time.Second}, 0)
				// Some of these are lost, and it is not known which.
				c.Add(event.Batch{Events: all[from : (from+to)/2], Until: time.Second, Lost: map[int]uint64{cpu: uint64(to - (from+to)/2)}}, 0)
				c.Add(event.Batch{Events: all[to:], Until: time.Hour}, 0)
				if m := c.Results(0, never)[0]; m.Violations > 0 || m.Verdict != report.MonitorUnknown {
					t.Fatalf("%s, lost between %d and %d: %+v", name, from, to, m)
				}
			}
		}
	}
}

// A sender is recorded on its own CPU, and lost there.
func TestLossOnAnotherCPU(t *testing.T) {
	lost := event.Batch{Until: time.Hour, Lost: map[int]uint64{0: 1}}
	for name, want := range map[string]string{"poke3": report.MonitorUnknown, "quiet_user": report.MonitorSatisfied} {
		c := checker(t, name, sees)
		c.Add(lost, 0)
		if m := c.Results(0, never)[0]; m.Verdict != want {
			t.Errorf("%s: %+v", name, m)
		}
		c = checker(t, name, sees)
		if m := c.Results(0, func(_ int, k event.Kind) bool { return k == event.SendCall })[0]; m.Verdict != want {
			t.Errorf("%s, missed somewhere: %+v", name, m)
		}
	}
}

func TestUnknown(t *testing.T) {
	const violated = "user_enter user_exit call_function_entry sync call_function_exit"
	blind := func(_ int, k event.Kind, named bool) string {
		if k == event.CSDEnter && named {
			return "no csd events"
		}
		return ""
	}
	c := checker(t, "quiet_user", blind)
	c.Add(event.Batch{Events: streamOf(t, violated), Until: time.Hour}, 0)
	if m := c.Results(0, never)[0]; m.Verdict != report.MonitorUnknown || !slices.Equal(m.Reasons, []string{"no csd events"}) {
		t.Errorf("blind: %+v", m)
	}
	c = checker(t, "quiet_user", sees)
	c.Add(event.Batch{Events: streamOf(t, violated), Until: time.Hour}, 0)
	if m := c.Results(0, func(n int, k event.Kind) bool { return n == cpu && k == event.UserExit })[0]; m.Verdict != report.MonitorUnknown || m.Violations != 1 {
		t.Errorf("preempted: %+v", m)
	}
}

// Where nothing patches in steps, a monitor of the steps has seen nothing, which is no verdict; others need no steps.
func TestUnknownWithoutSteps(t *testing.T) {
	blind := func(_ int, k event.Kind, _ bool) string {
		if k == Steps {
			return "no steps"
		}
		return ""
	}
	for name, want := range map[string]string{"poke3": report.MonitorUnknown, "quiet_user": report.MonitorSatisfied} {
		if m := checker(t, name, blind).Results(0, never)[0]; m.Verdict != want || (len(m.Reasons) > 0) != (want == report.MonitorUnknown) {
			t.Errorf("%s: %+v, want %s", name, m, want)
		}
	}
}

// What happened in the warm-up is not held against anybody, nor is what
// happened on another CPU.
func TestWhatCounts(t *testing.T) {
	all := streamOf(t, strings.Repeat("user_enter user_exit call_function_entry sync call_function_exit ", 2))
	c := checker(t, "quiet_user", sees)
	begin := all[5].Time
	c.Add(event.Batch{Events: all, Until: time.Hour}, begin)
	if m := c.Results(begin, never)[0]; m.Violations != 1 || m.First != all[8].Time-begin || m.Events != 5 {
		t.Errorf("with a warm-up: %+v", m)
	}
	for i := range all {
		all[i].CPU = 1
	}
	c = checker(t, "quiet_user", sees)
	c.Add(event.Batch{Events: all, Until: time.Hour}, 0)
	if m := c.Results(0, never)[0]; m.Violations != 0 || m.Events != 0 {
		t.Errorf("on another CPU: %+v", m)
	}
}

func TestOwnFile(t *testing.T) {
	write := func(event string) string {
		file := filepath.Join(t.TempDir(), "own.dot")
		text := fmt.Sprintf(`digraph { "__init_x" -> "x"; "x"; "y"; "x" -> "y" [label = %q]; "y" -> "y" [label = "sys_enter"]; }`, event)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, event := range []string{"sched_switch", "csd_function_entry", "hrtimer_expire_entry_tick_nohz_handler", pokeBegin} {
		if _, err := Load(write(event)); err != nil {
			t.Errorf("event %s: %v", event, err)
		}
	}
	// It is joined in the middle: that what comes first is not its first event
	// is no violation.
	if m := check(t, write("sched_switch"), "sys_enter sys_enter sched_switch"); m.Violations != 1 {
		t.Errorf("joined in state y: %+v", m)
	}
	for event, want := range map[string]string{"usr_exit": `event "usr_exit"`, "sys_enter_read": `event "sys_enter_read"`, "a b": "not an automaton"} {
		if _, err := Load(write(event)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("event %s: %v", event, err)
		}
	}
	if _, err := Load("/nowhere/own.dot"); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := Load("quiet-user"); err == nil || err.Error() != `unknown monitor "quiet-user": there are isolation, poke3, quiet_user; a file of your own ends in .dot` {
		t.Errorf("a name that is not there: %v", err)
	}
}

func BenchmarkChecker(b *testing.B) {
	m, err := Load("quiet_user")
	if err != nil {
		b.Fatal(err)
	}
	cpus, err := cpulist.New(cpu)
	if err != nil {
		b.Fatal(err)
	}
	c := NewChecker([]*Monitor{m}, cpus, symbols{}, sees)
	batch := event.Batch{Until: time.Hour}
	for range 1000 {
		for _, k := range []event.Kind{event.UserEnter, event.UserExit, event.SyscallEnter, event.SyscallExit} {
			batch.Events = append(batch.Events, event.Event{Kind: k, CPU: cpu})
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		c.Add(batch, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(batch.Events)), "ns/event")
}
