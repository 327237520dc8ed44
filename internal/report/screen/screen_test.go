// SPDX-License-Identifier: Apache-2.0

package screen

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

var update = flag.Bool("update", false, "write the golden screens anew")

const ms, us = time.Millisecond, time.Microsecond

func set(t *testing.T, list string) cpulist.Set {
	t.Helper()
	s, err := cpulist.Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// base is a report of 2 seconds on CPU 3 of four, without anything in it.
func base(t *testing.T) *report.Report {
	return &report.Report{
		Schema: report.Schema, Duration: 2 * time.Second, Tracing: true,
		Host: report.Host{Host: topology.Host{Kernel: "6.12.0-test", Arch: "amd64", Online: set(t, "0-3")}},
		Task: report.Task{Kind: "busy loop", PID: 4242, Threads: 1, EndedBy: "duration"},
	}
}

func remedyOf(kind, do string) *report.Remedy { return &report.Remedy{Kind: kind, Do: do} }

// quiet is a busy loop on an isolated CPU that nothing interrupted.
func quiet(t *testing.T) *report.Report {
	r := base(t)
	r.Partition = &report.Partition{Reason: "the CPUs are set apart already"}
	r.Loop = []report.Loop{{CPU: 3, Ran: 2 * time.Second, Threshold: us, Gaps: 8326, Total: 90 * ms, Max: 9 * ms}}
	r.CPUs = []report.CPU{{CPU: 3, Complete: true, User: 2 * time.Second, Verdict: report.VerdictQuiet, Quiet: report.Quiet{Longest: 2 * time.Second}}}
	return r
}

// noisy is a busy loop on a CPU that is not isolated.
func noisy(t *testing.T) *report.Report {
	r := base(t)
	r.Partition = &report.Partition{}
	r.Limits = []string{"CPU 3: not nohz_full", "something is missing"}
	tool := report.Origin{Did: report.DidArm, PID: 93, Name: "compile", CPU: 3, Function: "hrtimer_wakeup", Count: 326}
	stranger := report.Origin{Did: report.DidWake, PID: 26, Name: "taskiso", CPU: 3, Interrupt: true, Count: 485}
	r.CPUs = []report.CPU{{CPU: 3, User: 600 * ms, Kernel: 1400 * ms, Breaks: 1458, Verdict: report.VerdictDisturbed, Causes: []report.Cause{
		{ID: "tick", Title: "tick", Count: 79, Total: 1105 * us, Max: 55 * us, AtLeast: true, Remedy: remedyOf("boot", "nohz_full=CPULIST")},
		{ID: "task-user", Title: "another task ran", Detail: "compile", Count: 905, Total: 1200 * ms, Max: 80 * ms, AtLeast: true,
			Origins: []report.Origin{stranger, tool}, Partition: report.PartitionEnds},
		{ID: "task-user", Title: "another task ran", Detail: "go", Count: 258, Total: 140 * ms, Max: 46 * ms, AtLeast: true, Partition: report.PartitionEnds},
		{ID: "task-user", Title: "another task ran", Detail: "hold.test", Count: 19, Total: 25 * ms, Max: 10 * ms, AtLeast: true, Partition: report.PartitionUnknown},
		{ID: "task-rcu", Title: "RCU thread", Detail: "rcu_preempt", Count: 31, Total: 17 * ms, Max: 8 * ms,
			Remedy: remedyOf("boot", "rcu_nocbs=CPULIST, or nohz_full=CPULIST, which implies it")},
		{ID: "work-bound", Title: "per-CPU work", Detail: "delayed_vfree_work", Count: 2, Total: 16 * ms, Max: 16 * ms,
			Remedy: remedyOf("runtime", "take cpuN offline and online again before isolation begins, from CPU HOUSEKEEPING: timers and work then move to other CPUs")},
		{ID: "ipi-tlb-user", Title: "TLB flush of the process", Detail: "flush_tlb_func", Count: 22, Total: 73 * us, Max: 27 * us,
			Origins: []report.Origin{{Did: report.DidCall, PID: 80, Name: "compile", CPU: 0, Count: 22}}, Remedy: remedyOf("program", "run the isolated thread in a process of its own")},
		{ID: "smi", Title: "system management interrupt or other firmware", Count: 2, Unmeasured: 2},
		{ID: "page-fault", Title: "page fault", Detail: "absent write", Count: 140, Total: 900 * us, Max: 11 * us,
			Remedy: remedyOf("program", "mlockall(MCL_CURRENT | MCL_FUTURE) and MAP_POPULATE, and touch the stack, before isolation begins")},
	}}}
	return r
}

// shell is a command with many threads that does most of it itself, and waits.
func shell(t *testing.T) *report.Report {
	r := base(t)
	status := 1
	r.Task = report.Task{Kind: "command", Command: []string{"sh", "-c", "find /usr/share -type f | xargs cat"}, PID: 77, Threads: 41, Status: &status, EndedBy: "exit"}
	r.Partition = &report.Partition{}
	program := remedyOf("program", "do it before isolation begins, or let another thread on a housekeeping CPU do it")
	calls := func(name string, n uint64, total, waited time.Duration) report.Cause {
		return report.Cause{ID: "syscall", Title: "system call", Detail: name, Count: n, Total: total, Max: total / 9, Waited: waited, Remedy: program}
	}
	causes := []report.Cause{
		calls("read", 2801, 1470*ms, 100*ms), calls("getdents64", 3096, 115*ms, 88*ms), calls("openat", 2987, 114*ms, 80*us),
		calls("newfstatat", 6063, 30*ms, 3900*us), calls("close", 7587, 9*ms, 0),
		{ID: "page-fault", Title: "page fault", Detail: "absent write", Count: 1534, Unmeasured: 1534, Remedy: remedyOf("program", "mlockall(MCL_CURRENT | MCL_FUTURE)")},
		{ID: "task-user", Title: "another task ran", Detail: "cat", Count: 42, Total: 7640 * us, Max: 2 * ms, Partition: report.PartitionUnknown},
		{ID: "irq", Title: "device interrupt", Detail: "36 virtio1-req.0", Count: 87, Total: 842 * us, Max: 39 * us, Partition: report.PartitionEnds},
		{ID: "tick", Title: "tick", Count: 4, Total: 80 * us, Max: 30 * us, Remedy: remedyOf("boot", "nohz_full=CPULIST")},
	}
	r.CPUs = []report.CPU{{CPU: 2, Complete: true, User: 37 * ms, Kernel: 1700 * ms, Waited: 192 * ms, Breaks: 24201, Verdict: report.VerdictDisturbed, Causes: causes}}
	return r
}

// unprivileged is a command of which nothing could be seen.
func unprivileged(t *testing.T) *report.Report {
	r := base(t)
	r.Tracing = false
	r.Task = report.Task{Kind: "command", Command: []string{"./app"}, PID: 77, Threads: 1}
	r.Doubts = []report.Doubt{{Reason: report.DoubtUntraced, Text: "kernel entries could not be seen"}}
	r.Limits = []string{"kernel entries could not be seen: loading BPF programs: permission denied; run as root or with CAP_BPF, CAP_PERFMON and CAP_SYSLOG; \"taskiso doctor\" has details"}
	r.Usage = &report.Usage{Task: &report.TaskUsage{User: 1900 * ms, System: 40 * ms, MinorFaults: 1234, Voluntary: 7, Involuntary: 20}}
	return r
}

// lossy is an observation of several CPUs that lost events.
func lossy(t *testing.T) *report.Report {
	r := noisy(t)
	cpu, quietCPU := 3, 1
	r.Task = report.Task{Kind: "cpus", Threads: 12}
	r.Partition = nil
	r.CPUs = append(r.CPUs, report.CPU{CPU: 1, Complete: true, User: time.Second, Lost: 12, Verdict: report.VerdictUnknown},
		report.CPU{CPU: 2, Complete: true, User: time.Second, Verdict: report.VerdictQuiet})
	r.Lost = report.Lost{Events: 1234567, Missed: 7, Children: 2}
	r.Doubts = []report.Doubt{
		{Reason: report.DoubtLost, CPU: &cpu, Text: "events of CPU 3 were lost: 1,234,555"},
		{Reason: report.DoubtLost, CPU: &quietCPU, Text: "events of CPU 1 were lost: 12"},
		{Reason: report.DoubtInterrupts, CPU: &cpu, Text: "interrupts of CPU 3 as the kernel counted them and as seen differ: CAL 4 and 3, LOC 5,000 and 4,000"},
		{Reason: report.DoubtChildren, Text: "2 children were not watched: there were too many at once"},
	}
	r.Monitors = []report.Monitor{{Monitor: "quiet_user", CPU: 3, Verdict: report.MonitorViolated, Violations: 3}, {Monitor: "poke3", CPU: 3, Verdict: report.MonitorSatisfied}}
	r.Isolation = []report.Isolation{{TID: 5, IsolationCalls: report.IsolationCalls{Attempts: 3, NotQuiet: 1}, Entered: 2, Breaks: 2}}
	return r
}

// namespace is a command whose threads could not be recognised, because taskiso runs in another PID namespace.
func namespace(t *testing.T) *report.Report {
	r := base(t)
	r.Task = report.Task{Kind: "command", Command: []string{"./app"}, PID: 7, Threads: 0}
	cpu := 3
	r.Doubts = []report.Doubt{{Reason: report.DoubtNeverRan, CPU: &cpu, Text: "no watched task was seen in user mode on CPU 3"}}
	r.Limits = []string{"taskiso runs in a PID namespace of its own: threads cannot be recognised"}
	r.CPUs = []report.CPU{{CPU: 3, Complete: true, Verdict: report.VerdictUnknown}}
	return r
}

// hostile has names that would like to command the terminal, and very long ones.
func hostile(t *testing.T) *report.Report {
	r := noisy(t)
	long := strings.Repeat("very-long-name-", 40)
	evil := "\x1b[2J\x1b[Hall quiet\r\nCPU 3: quiet\u202e\x9b"
	r.Host.Kernel = evil
	r.Task = report.Task{Kind: "command", Command: []string{evil, long, "日本"}, PID: 9, Threads: 1}
	r.Limits = []string{evil, long}
	r.Doubts = []report.Doubt{{Reason: report.DoubtLost, Text: evil + long}}
	r.Monitors = []report.Monitor{{Monitor: evil, CPU: 3, Verdict: report.MonitorUnknown}}
	for i := range r.CPUs[0].Causes {
		c := &r.CPUs[0].Causes[i]
		c.Detail = []string{evil, long, strings.Repeat("日本語", 9), "e\u0301ve\u0301", ""}[i%5]
		c.Origins = []report.Origin{{Did: report.DidWake, Name: evil, Count: 1}}
	}
	r.CPUs[0].Causes[1].Title = evil + long
	r.CPUs[0].Causes[0].Remedy.Do = evil + long
	return r
}

var situations = map[string]func(*testing.T) *report.Report{
	"quiet": quiet, "noisy": noisy, "shell": shell, "unprivileged": unprivileged, "lossy": lossy, "namespace": namespace, "hostile": hostile,
}

func print(t *testing.T, r *report.Report, o Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, r, o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestScreens(t *testing.T) {
	for name, situation := range situations {
		for _, width := range []int{80, 120, 200} {
			got := print(t, situation(t), Options{Width: width})
			check(t, name, got, width)
			path := filepath.Join("testdata", fmt.Sprintf("%s-%d.golden", name, width))
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%s differs (-update writes it anew); got\n%s", path, got)
			}
		}
	}
}

// check fails if a screen does not fit a terminal, or can command it.
func check(t *testing.T, name, screen string, width int) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(screen, "\n"), "\n")
	if len(lines) > Lines {
		t.Errorf("%s: %d lines on a screen of %d:\n%s", name, len(lines), Lines, screen)
	}
	for _, l := range lines {
		if display.Width(l) > width {
			t.Errorf("%s: a line takes %d columns of %d: %q", name, display.Width(l), width, l)
		}
		if strings.TrimRight(l, " ") != l {
			t.Errorf("%s: blanks at the end of %q", name, l)
		}
		if i := strings.IndexFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("%s: %q cannot be shown", name, l)
		}
	}
}

func TestOrders(t *testing.T) {
	for order, want := range map[Order][]string{
		ByTime:    {"another task ran: compile 1.20 s", "RCU thread", "per-CPU work", "tick", "TLB flush"},
		ByCount:   {"another task ran: compile 905×", "tick", "RCU thread", "TLB flush"},
		ByLongest: {"another task ran: compile 80.0 ms", "per-CPU work", "RCU thread", "tick"},
	} {
		r := noisy(t)
		r.CPUs[0].Causes = slices.DeleteFunc(r.CPUs[0].Causes, func(c report.Cause) bool { return c.ID == "page-fault" })
		got := print(t, r, Options{Width: 200, Sort: order})
		at := 0
		for _, cause := range want {
			i := strings.Index(got[at:], "\n  "+cause)
			if i < 0 {
				t.Errorf("by %s: %q is not where it should be:\n%s", order, cause, got)
				break
			}
			at += i + 1
		}
	}
}

// With a locale that has only ASCII, only that and the signs are printed which the output replaces.
func TestASCII(t *testing.T) {
	for name, situation := range situations {
		got := print(t, situation(t), Options{Width: 80, ASCII: true})
		check(t, name, got, 80)
		if i := strings.IndexFunc(got, func(r rune) bool { return r > unicode.MaxASCII && !strings.ContainsRune(signs, r) }); i >= 0 {
			t.Errorf("%s: %q is not ASCII", name, got[i:min(i+9, len(got))])
		}
	}
}

// Colours add to the screen and change nothing in it.
func TestColourOnlyAdds(t *testing.T) {
	for name, situation := range situations {
		coloured := print(t, situation(t), Options{Width: 80, Colour: true})
		text := coloured
		for _, style := range []string{display.Bold, display.Red, display.Green, display.Yellow, display.Plain} {
			text = strings.ReplaceAll(text, style, "")
		}
		if plain := print(t, situation(t), Options{Width: 80}); text != plain || text == coloured {
			t.Errorf("%s: with colour\n%s", name, coloured)
		}
	}
}

// What is printed below a screen takes lines from it.
func TestBelow(t *testing.T) {
	all := strings.Count(print(t, noisy(t), Options{Width: 80}), "\n")
	if less := strings.Count(print(t, noisy(t), Options{Width: 80, Below: 4}), "\n"); less != all-4 || all < Lines-1 {
		t.Errorf("%d lines, and %d with 4 below", all, less)
	}
}

type brokenWriter struct{}

var errBroken = errors.New("broken")

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestWriteError(t *testing.T) {
	if err := Write(brokenWriter{}, quiet(t), Options{Width: 80}); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

// A remedy has the numbers of the CPUs, and names of variables as they are.
func TestFill(t *testing.T) {
	s := &screen{report: noisy(t)}
	for do, want := range map[string]string{
		"isolcpus=domain,CPULIST nohz_full=CPULIST":                                "isolcpus=domain,3 nohz_full=3",
		"write CPU HOUSEKEEPING to IRQBALANCE_BANNED_CPULIST=CPULIST":              "write CPU 0-2 to IRQBALANCE_BANNED_CPULIST=3",
		"echo performance > /sys/devices/system/cpu/cpuN/cpufreq/scaling_governor": "echo performance > /sys/devices/system/cpu/cpu3/cpufreq/scaling_governor",
	} {
		if got := s.fill(do); got != want {
			t.Errorf("%q: %q, want %q", do, got, want)
		}
	}
}

// A command that is shown can be pasted: the shell takes it apart as it was, or it is three dots.
func TestQuoted(t *testing.T) {
	for _, tc := range []struct {
		words []string
		want  string
	}{
		{[]string{"./app", "--fast", "-n=1"}, "./app --fast -n=1"},
		{[]string{"sh", "-c", "a | b"}, "sh -c 'a | b'"},
		{[]string{"echo", "it's", "", "$HOME", "~"}, `echo 'it'\''s' '' '$HOME' '~'`},
		{[]string{"a\tb"}, ""}, {[]string{"two  blanks"}, ""}, {[]string{"\x1b[2J"}, ""},
	} {
		if got, _ := quoted(tc.words); got != tc.want {
			t.Errorf("%q: %s, want %s", tc.words, got, tc.want)
		}
	}
}

// A command that the terminal shows in other letters would be another one if it were pasted.
func TestCommandThatCannotBeShown(t *testing.T) {
	r := base(t)
	r.Task.Kind, r.Task.Command = "command", []string{"./café"}
	for ascii, want := range map[bool]string{true: " -- …", false: " -- './café'"} {
		s := &screen{report: r, Options: Options{ASCII: ascii}, width: 120}
		if got := s.command(); !strings.HasSuffix(got, want) {
			t.Errorf("ASCII %v: got %q, want it to end with %q", ascii, got, want)
		}
	}
}
