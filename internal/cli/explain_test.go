// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskiso/taskiso/internal/cause"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/explain"
	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

// fakeProgram is taskiso on a machine that consists of files.
func fakeProgram(t *testing.T, files map[string]string) (*program, *bytes.Buffer) {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fs, err := kernfs.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	out := &bytes.Buffer{}
	return &program{stdout: out, stderr: out, files: fs}, out
}

// isolatedMachine has four CPUs, of which CPU 3 has no tick.
var isolatedMachine = map[string]string{
	"proc/cmdline":                     "quiet nohz_full=3 tsc=nowatchdog",
	"proc/sys/kernel/numa_balancing":   "1",
	"sys/devices/system/cpu/possible":  "0-3",
	"sys/devices/system/cpu/online":    "0-3",
	"sys/devices/system/cpu/isolated":  "",
	"sys/devices/system/cpu/nohz_full": "3",
	"sys/kernel/mm/ksm/run":            "2",
}

func TestExplainList(t *testing.T) {
	p, out := fakeProgram(t, isolatedMachine)
	if status := p.execute("explain"); status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	catalogue, err := cause.Load()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	for i, row := range catalogue.Rows() {
		fields := strings.Fields(lines[i+1]) // below the heading
		if fields[0] != row.ID || !strings.Contains(lines[i+1], row.Title) || !strings.HasSuffix(lines[i+1], row.Kinds()[len(row.Kinds())-1]) {
			t.Errorf("line %q, want %s, %s and its kinds", lines[i+1], row.ID, row.Title)
		}
	}
}

func TestExplainOne(t *testing.T) {
	for _, tc := range []struct {
		id   string
		want []string
	}{
		{"tick", []string{"tick: tick\n", "for CPU 3 of this machine", "✓ at boot: nohz_full=CPULIST (done already)", "✗ at boot: a kernel with CONFIG_NO_HZ_FULL=y",
			"Sources: kernel/time/tick-sched.c:tick_nohz_handler"}},
		{"ipi-tlb-user-numa", []string{"→ at run time: echo 0 > /proc/sys/kernel/numa_balancing\n"}},
		{"ipi-tlb-user-ksm", []string{"✓ at run time: echo 2 > /sys/kernel/mm/ksm/run"}},
		{"work-overcommit", []string{"→ in the program: set vm.overcommit_memory"}},
		{"smi", []string{"No event names it. It shows as a gap"}},
	} {
		p, out := fakeProgram(t, isolatedMachine)
		if status := p.execute("explain", tc.id); status != 0 {
			t.Fatalf("%s: exit status %d: %s", tc.id, status, out)
		}
		for _, want := range tc.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in:\n%s", tc.id, want, out)
			}
		}
		for _, line := range strings.Split(out.String(), "\n") {
			if len([]rune(line)) > 100 && strings.Contains(strings.TrimSpace(line), " ") {
				t.Errorf("%s: line of %d letters: %q", tc.id, len([]rune(line)), line)
			}
		}
	}
}

func TestExplainJSON(t *testing.T) {
	p, out := fakeProgram(t, isolatedMachine)
	if status := p.execute("explain", "--json", "tick"); status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	var got struct {
		Schema   int
		ID       string
		CPUs     string
		Remedies []struct{ Kind, Do, State string }
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Schema != explain.Schema || got.ID != "tick" || got.CPUs != "3" || len(got.Remedies) != 2 || got.Remedies[0].State != "set" || got.Remedies[1].State != "impossible" {
		t.Errorf("got %+v", got)
	}
}

// savedReport writes a report to a file.
func savedReport(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.json")
	r := &report.Report{Schema: report.Schema, Version: "v0.1", Host: report.Host{Host: topology.Host{Kernel: "5.0-test"}}, Task: report.Task{Kind: "busy loop"}}
	for _, n := range []int{1, 3} {
		r.CPUs = append(r.CPUs, report.CPU{CPU: n, Verdict: report.VerdictDisturbed, Breaks: 7, Causes: []report.Cause{
			{ID: "tick", Title: "tick", Count: 5, Total: 5000, Max: 2000},
			{ID: "ipi-msr", Title: "machine register read or written", Detail: "__rdmsr_on_cpu", Count: 1, Unmeasured: 1,
				Origins: []report.Origin{{PID: 12, Name: "turbostat", Count: 1, Stack: []string{"rdmsr_on_cpu", "msr_read"}}}},
			{ID: "of-the-future", Title: "something new", Count: 1, Unmeasured: 1},
		}})
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(display.Report(f, r), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestExplainReport(t *testing.T) {
	p, out := fakeProgram(t, isolatedMachine)
	if status := p.execute("explain", savedReport(t)); status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	one, three, found := strings.Cut(out.String(), "\nCPU 3: disturbed, 7 breaks")
	if !found {
		t.Fatalf("CPU 3 is missing:\n%s", out)
	}
	for _, want := range []string{"busy loop on 5.0-test", "Remedies are judged for this machine", "CPU 1: disturbed", "tick (tick): 5×, 5.00 µs together, longest 2.00 µs",
		"→ at boot: nohz_full=CPULIST\n", "1× from turbostat (process 12) on CPU 0: msr_read → rdmsr_on_cpu", "(ipi-msr): 1×\n", "This taskiso knows no cause of-the-future"} {
		if !strings.Contains(one, want) {
			t.Errorf("CPU 1: no %q in:\n%s", want, one)
		}
	}
	if want := "✓ at boot: nohz_full=CPULIST (done already)"; !strings.Contains(three, want) {
		t.Errorf("CPU 3: no %q in:\n%s", want, three)
	}
}

func TestExplainReportJSON(t *testing.T) {
	p, out := fakeProgram(t, isolatedMachine)
	if status := p.execute("explain", "--json", savedReport(t)); status != 0 {
		t.Fatalf("exit status %d: %s", status, out)
	}
	var got struct {
		Kernel  string
		Unknown []string
		CPUs    []struct {
			CPU    int
			Causes []struct {
				Seen        struct{ ID string }
				Explanation *struct{ Remedies []struct{ State string } }
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Kernel != "5.0-test" || len(got.Unknown) != 2 || len(got.CPUs) != 2 {
		t.Fatalf("got %+v", got)
	}
	if s := got.CPUs[0].Causes[0].Explanation.Remedies[0].State; s != "applies" {
		t.Errorf("tick on CPU 1: got state %q", s)
	}
	if s := got.CPUs[1].Causes[0].Explanation.Remedies[0].State; s != "set" {
		t.Errorf("tick on CPU 3: got state %q", s)
	}
	if got.CPUs[0].Causes[2].Explanation != nil {
		t.Errorf("an unknown cause is explained")
	}
}

func TestExplainBadInput(t *testing.T) {
	file := func(content string) string {
		path := filepath.Join(t.TempDir(), "f.json")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct {
		arg    string
		status int
		want   string
	}{
		{"tik", exitUsage, `"tik": no such cause, did you mean tick?`},
		{"qqqqqq", exitUsage, `"qqqqqq": no such cause; "taskiso explain" lists all`},
		{"no/such/file.json", exitUsage, "no such file"},
		{file(`{"schema":1,"taskiso":"v1","cpus":[`), exitFailed, "cut off after 35 bytes"},
		{file(`{"a":1}`), exitFailed, "not a report of taskiso"},
		{file(`<html>`), exitFailed, "not a report of taskiso"},
		{file(`{"schema":1,"taskiso":"v1","cpus":[{"cpu":-5,"causes":[{"id":"tick"}]}]}`), exitFailed, "-5"},
	} {
		p, out := fakeProgram(t, isolatedMachine)
		status := p.execute("explain", tc.arg)
		if status != tc.status || !strings.Contains(out.String(), tc.want) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: got status %d and %q, want %d and one line with %q", tc.arg, status, out, tc.status, tc.want)
		}
	}
}
