// SPDX-License-Identifier: Apache-2.0

package report

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/cpulist"
)

// judged is a report of a quiet second on CPU 3, as changed, judged.
func judged(t *testing.T, s Scope, change func(*Report)) *Report {
	t.Helper()
	r := &Report{Tracing: true, Duration: time.Second, CPUs: []CPU{{CPU: 3, Complete: true, User: time.Second}}}
	change(r)
	r.Judge(s)
	return r
}

// Each reason why it is not known how many breaks there were is given, and no other. What does not
// concern the observed CPUs is no reason.
func TestJudge(t *testing.T) {
	cpu := func(change func(*CPU)) func(*Report) { return func(r *Report) { change(&r.CPUs[0]) } }
	rows := func(kernel, seen, mayDiffer uint64) *Interrupts {
		return &Interrupts{Rows: []InterruptRow{{Name: "devices", Kernel: kernel, Seen: &seen, MayDiffer: mayDiffer}}}
	}
	three := Scope{CPUs: mustCPUs(t, 3)}
	threads := Scope{}
	for name, tc := range map[string]struct {
		scope   Scope
		change  func(*Report)
		verdict string
		reasons []string
		says    string
	}{
		"quiet":                   {three, func(*Report) {}, VerdictQuiet, nil, ""},
		"a break":                 {three, cpu(func(c *CPU) { c.Breaks = 1 }), VerdictDisturbed, nil, ""},
		"a break, and none known": {three, cpu(func(c *CPU) { c.Breaks, c.User = 1, 0 }), VerdictDisturbed, nil, ""},
		"untraced":                {three, func(r *Report) { r.Tracing, r.CPUs = false, nil }, "", []string{DoubtUntraced}, "kernel entries could not be seen"},
		"in the warm-up": {
			Scope{CPUs: three.CPUs, WarmUp: 3 * time.Second}, func(r *Report) { r.Duration, r.CPUs[0].User = 0, 0 }, VerdictUnknown,
			[]string{DoubtNotBegun}, "it ended within the warm-up of 3s",
		},
		"never there":     {three, cpu(func(c *CPU) { c.User = 0 }), VerdictUnknown, []string{DoubtNeverRan}, "no watched task was seen in user mode on CPU 3"},
		"one never there": {Scope{CPUs: mustCPUs(t, 2, 3)}, func(r *Report) { r.CPUs = append(r.CPUs, CPU{CPU: 2, Complete: true}) }, VerdictQuiet, []string{DoubtNeverRan}, "on CPU 2"},
		"a thread slept":  {threads, func(r *Report) { r.CPUs = nil }, "", []string{DoubtNeverRan}, "no watched thread was seen in user mode"},
		"went elsewhere": {
			three, func(r *Report) { r.Elsewhere = []Elsewhere{{CPU: 0, Ran: 3 * time.Second}} }, VerdictUnknown,
			[]string{DoubtElsewhere}, "the task ran 3.00 s on CPU 0, which is not observed",
		},
		"went elsewhere, and broken": {
			three, func(r *Report) { r.CPUs[0].Breaks, r.Elsewhere = 1, []Elsewhere{{CPU: 0, Ran: 1}} }, VerdictDisturbed, []string{DoubtElsewhere}, "",
		},
		"began elsewhere on purpose": {three, func(r *Report) { r.Elsewhere = []Elsewhere{{CPU: 0, Ran: 1, Expected: true}} }, VerdictQuiet, nil, ""},
		"a loss":                     {three, cpu(func(c *CPU) { c.Lost = 7 }), VerdictUnknown, []string{DoubtLost}, "events of CPU 3 were lost: 7"},
		"a loss, and a break":        {three, cpu(func(c *CPU) { c.Lost, c.Breaks = 1, 1 }), VerdictDisturbed, []string{DoubtLost}, ""},
		"a loss of senders":          {three, func(r *Report) { r.Lost.Events = 9 }, VerdictQuiet, nil, ""},
		"missed here":                {three, func(r *Report) { r.Lost.Missed, r.CPUs[0].Preempted = 2, 1 }, VerdictUnknown, []string{DoubtMissed}, "events were missed, perhaps on CPU 3: 2"},
		"missed on another CPU":      {three, func(r *Report) { r.Lost.Missed = 2 }, VerdictQuiet, nil, ""},
		"a switch not recorded":      {three, cpu(func(c *CPU) { c.Unrecorded = 2 }), VerdictUnknown, []string{DoubtUnrecorded}, "the kernel did not report every switch between tasks on CPU 3; missing at least: 2"},
		"preempted, nothing missed":  {three, cpu(func(c *CPU) { c.Preempted = 1 }), VerdictQuiet, nil, ""},
		"missed, a thread followed":  {threads, func(r *Report) { r.Lost.Missed, r.CPUs[0].Preempted = 2, 1 }, VerdictUnknown, []string{DoubtMissed}, ""},
		"a child":                    {three, func(r *Report) { r.Lost.Children = 1 }, VerdictUnknown, []string{DoubtChildren}, "1 child was not watched"},
		"counts differ":              {three, cpu(func(c *CPU) { c.Interrupts = rows(31, 30, 0) }), VerdictUnknown, []string{DoubtInterrupts}, "devices 31 and 30"},
		"counts differ, and broken":  {three, cpu(func(c *CPU) { c.Interrupts, c.Breaks = rows(31, 30, 0), 5 }), VerdictDisturbed, []string{DoubtInterrupts}, ""},
		"counts may differ":          {three, cpu(func(c *CPU) { c.Interrupts = rows(31, 30, 1) }), VerdictQuiet, nil, ""},
		"no context tracking":        {three, cpu(func(c *CPU) { c.Complete = false }), VerdictUnknown, []string{DoubtUntracked}, "CPU 3, which is not nohz_full"},
		"at least":                   {three, cpu(func(c *CPU) { c.Complete, c.Breaks = false, 4 }), VerdictDisturbed, nil, ""},
		"another CPU's":              {three, func(r *Report) { r.CPUs = append(r.CPUs, CPU{CPU: 0, Lost: 1}) }, VerdictQuiet, nil, ""},
	} {
		r := judged(t, tc.scope, tc.change)
		var reasons []string
		for _, d := range r.Doubts {
			reasons = append(reasons, d.Reason)
		}
		if !slices.Equal(reasons, tc.reasons) || !strings.Contains(r.Unjudged(), tc.says) || (r.Unjudged() == "") != (tc.reasons == nil) {
			t.Errorf("%s: doubts %q, %q; want %q, %q", name, reasons, r.Unjudged(), tc.reasons, tc.says)
		}
		if strings.Contains(r.Unjudged(), "\n") {
			t.Errorf("%s: more than one line: %q", name, r.Unjudged())
		}
		if len(r.CPUs) > 0 && r.CPUs[0].Verdict != tc.verdict {
			t.Errorf("%s: verdict %q, want %q", name, r.CPUs[0].Verdict, tc.verdict)
		}
	}
}

// No monitor holds where what it is about cannot have been seen; what it knows better itself stays.
func TestJudgeMonitors(t *testing.T) {
	three := Scope{CPUs: mustCPUs(t, 3)}
	for name, tc := range map[string]struct {
		change func(*Report)
		want   string
	}{
		"holds":                   {func(*Report) {}, MonitorSatisfied},
		"violated":                {func(r *Report) { r.Monitors[0].Verdict, r.Lost.Children = MonitorViolated, 1 }, MonitorViolated},
		"no user mode":            {func(r *Report) { r.CPUs[0].User = 0 }, MonitorUnknown},
		"not about user mode":     {func(r *Report) { r.CPUs[0].User, r.Monitors[0].OfUserMode = 0, false }, MonitorSatisfied},
		"counts differ":           {func(r *Report) { n := uint64(2); r.CPUs[0].Interrupts = &Interrupts{Rows: []InterruptRow{{Seen: &n}}} }, MonitorUnknown},
		"a child":                 {func(r *Report) { r.Lost.Children = 1 }, MonitorUnknown},
		"elsewhere":               {func(r *Report) { r.Elsewhere = []Elsewhere{{CPU: 0, Ran: 1}} }, MonitorUnknown},
		"elsewhere, of threads":   {func(r *Report) { r.Elsewhere, r.Monitors[0].OfThreads = []Elsewhere{{CPU: 0, Ran: 1}}, true }, MonitorSatisfied},
		"in the warm-up":          {func(r *Report) { r.Duration = 0 }, MonitorUnknown},
		"events it does not need": {func(r *Report) { r.CPUs[0].Lost = 1 }, MonitorSatisfied},
	} {
		r := judged(t, three, func(r *Report) {
			r.Monitors = []Monitor{{Monitor: "quiet_user", CPU: 3, Verdict: MonitorSatisfied, OfUserMode: true}}
			tc.change(r)
		})
		if m := r.Monitors[0]; m.Verdict != tc.want || (m.Verdict == MonitorUnknown) != (len(m.Reasons) > 0) {
			t.Errorf("%s: %+v, want %s", name, m, tc.want)
		}
	}
}

func mustCPUs(t *testing.T, cpus ...int) cpulist.Set {
	t.Helper()
	set, err := cpulist.New(cpus...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}
