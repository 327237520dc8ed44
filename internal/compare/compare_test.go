// SPDX-License-Identifier: Apache-2.0

package compare

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
)

// cause is one in which each break has a second of its own.
func cause(id string, count uint64, origins ...report.Origin) report.Cause {
	return report.Cause{ID: id, Title: "title of " + id, Count: count, Squares: count, Origins: origins}
}

func by(name string, count uint64) report.Origin {
	return report.Origin{Did: report.DidCall, Name: name, Count: count}
}

// onCPU is a CPU that is known as a whole.
func onCPU(n int, causes ...report.Cause) report.CPU {
	cpu := report.CPU{CPU: n, Complete: true, Causes: causes}
	for _, c := range causes {
		cpu.Breaks += c.Count
	}
	return cpu
}

// run is ten minutes.
func run(name string, cpus ...report.CPU) Run {
	return Run{name, &report.Report{Schema: report.Schema, Tracing: true, Duration: 10 * time.Minute, Host: report.Host{Host: topology.Host{Kernel: "6.12.1"}}, CPUs: cpus}}
}

func mustCompare(t *testing.T, before, after []Run) Result {
	t.Helper()
	r, err := Compare("test", before, after)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// row returns the row of a cause as a whole, on a CPU, or by a process.
func (r *Result) row(t *testing.T, cause, part string) Row {
	t.Helper()
	for _, row := range r.Rows {
		of, isCPU := row.part(ofCPU)
		from, isProcess := row.part(ofProcess)
		if row.Cause == cause && (part == "" && row.isWhole() || isCPU && "CPU "+of == part || isProcess && from == part) {
			return row
		}
	}
	t.Fatalf("no row of %s %s: %+v", cause, part, r.Rows)
	return Row{}
}

func TestCompare(t *testing.T) {
	before := run("a.json", onCPU(3, cause("tick", 300), cause("ipi", 100, by("agent", 100)), cause("gone", 50), cause("kept", 200)))
	after := run("b.json", onCPU(3, cause("tick", 150), cause("ipi", 200, by("agent", 100), by("kworker/3:1", 50), by("kworker/2:0", 50)), cause("new", 50), cause("kept", 205), cause("rare", 1)))
	r := mustCompare(t, []Run{before}, []Run{after})
	for id, want := range map[string]Change{"tick": Less, "ipi": More, "gone": Vanished, "new": Appeared, "kept": NotFound, "rare": NotFound} {
		if got := r.row(t, id, ""); got.Change != want {
			t.Errorf("%s: %+v, want %s", id, got, want)
		}
	}
	if got := r.row(t, "ipi", "kworker"); got.Change != Appeared || got.After.Count != 100 || got.Ratio != nil || got.High != nil {
		t.Errorf("workers of the kernel: %+v", got)
	}
	if got := r.row(t, "ipi", "agent"); got.Change != NotFound || *got.Ratio != 1 {
		t.Errorf("the agent: %+v", got)
	}
	if ipi := r.row(t, "ipi", ""); *ipi.Ratio != 2 || ipi.Low < 1.5 || *ipi.High > 2.6 || ipi.Before.PerHour != 600 {
		t.Errorf("%+v", ipi)
	}
	if r.Verdict != Worse || len(r.Reasons) > 0 || r.CPUs.String() != "3" || r.Before.Breaks.Count != 650 {
		t.Errorf("%+v", r)
	}
	var order []string
	for _, row := range r.Rows {
		name := row.Cause
		if !row.isWhole() {
			name += " part"
		}
		order = append(order, name)
	}
	if got := strings.Join(order, ", "); got != "ipi, ipi part, ipi part, new, gone, tick, kept, rare" {
		t.Errorf("the order is %s", got)
	}
	if r := mustCompare(t, []Run{after}, []Run{before}); r.row(t, "tick", "").Change != More || r.Verdict != Worse {
		t.Errorf("the other way round: %s", r.Verdict)
	}
	if r := mustCompare(t, []Run{before}, []Run{before}); r.Verdict != Same {
		t.Errorf("with itself: %s", r.Verdict)
	}
}

func TestVerdict(t *testing.T) {
	a, b := run("a", onCPU(3, cause("tick", 300))), run("b", onCPU(3, cause("tick", 100)))
	if r := mustCompare(t, []Run{a}, []Run{b}); r.Verdict != Better {
		t.Errorf("fewer: %s", r.Verdict)
	}
	cpu := 3
	b.Report.Doubts = []report.Doubt{{Reason: report.DoubtLost, CPU: &cpu, Text: "events were lost"}}
	if r := mustCompare(t, []Run{a}, []Run{b}); r.Verdict != Unknown || !slices.Contains(r.Reasons, "b: events were lost") {
		t.Errorf("with a doubt: %s because %q", r.Verdict, r.Reasons)
	}
	b.Report.Doubts[0].Reason = report.DoubtUntracked
	if r := mustCompare(t, []Run{a}, []Run{b}); r.Verdict != Better {
		t.Errorf("what was seen is compared with what was seen: %s", r.Verdict)
	}
	b.Report.CPUs[0].Complete = false
	if r := mustCompare(t, []Run{a}, []Run{b}); r.Verdict != Unknown {
		t.Errorf("nohz_full on one side only: %s", r.Verdict)
	}
	mixed := run("mixed", onCPU(2, cause("tick", 300)), onCPU(3))
	mixed.Report.CPUs[1].Complete = false
	if r := mustCompare(t, []Run{mixed}, []Run{mixed}); r.Verdict != Same {
		t.Errorf("one CPU of two is nohz_full, before and after: %s because %q", r.Verdict, r.Reasons)
	}
	old := run("old", onCPU(3, cause("tick", 300)))
	old.Report.Schema = 1
	if r := mustCompare(t, []Run{old}, []Run{a}); r.Verdict != Unknown {
		t.Errorf("an old report: %s", r.Verdict)
	}
}

// A pair of reports that does not show how counts vary proves no difference, and passes for none.
func TestUnknownVariation(t *testing.T) {
	a := run("a", onCPU(3, cause("tick", 300)))
	short, older := run("short", onCPU(3, cause("tick", 1))), run("older", onCPU(3, report.Cause{ID: "tick", Count: 900}))
	short.Report.Duration = time.Second
	for _, other := range []Run{short, older} {
		if r := mustCompare(t, []Run{a}, []Run{other}); r.Verdict != Unknown || len(r.Reasons) != 1 {
			t.Errorf("%s: %s because %q", other.Name, r.Verdict, r.Reasons)
		}
		if r := mustCompare(t, []Run{a, a}, []Run{other, other}); r.Verdict == Unknown {
			t.Errorf("two of %s: %s because %q", other.Name, r.Verdict, r.Reasons)
		}
	}
}

// Whatever counts a file has, every figure of the result is a number, or the file is refused.
func TestFiguresOfAnyReport(t *testing.T) {
	counts := []uint64{0, 1, 1 << 32, maxCount, maxCount + 1, 1<<64 - 1}
	for _, n := range counts {
		for _, m := range counts {
			for _, d := range []time.Duration{1, time.Second, time.Hour, 1<<63 - 1} {
				before, after := run("a", onCPU(3, cause("x", n))), run("b", onCPU(3, cause("x", m, by("y", m))))
				after.Report.Duration = d
				r, err := Compare("", []Run{before, before}, []Run{after})
				if refused := n > maxCount || m > maxCount; refused != errors.Is(err, ErrNotComparable) {
					t.Errorf("%d, then %d in %v: %v", n, m, d, err)
				}
				if _, err := json.Marshal(r); err != nil {
					t.Errorf("%d, then %d in %v: %v", n, m, d, err)
				}
			}
		}
	}
}

func TestMoves(t *testing.T) {
	before := run("a", onCPU(2, cause("irq", 100)), onCPU(3, cause("ipi", 200, by("old", 200))))
	after := run("b", onCPU(2), onCPU(3, cause("irq", 100), cause("ipi", 200, by("new", 200))))
	r := mustCompare(t, []Run{before}, []Run{after})
	var got []string
	for _, m := range r.Moved {
		got = append(got, m.Cause+" "+m.Of+" "+strings.Join(m.From, ",")+">"+strings.Join(m.To, ","))
	}
	if text := strings.Join(got, "; "); text != "ipi process old>new; irq CPU 2>3" && text != "irq CPU 2>3; ipi process old>new" {
		t.Errorf("moved: %s", text)
	}
	if r.Verdict != Worse { // CPU 3 is interrupted more often
		t.Errorf("moved to another CPU: %s", r.Verdict)
	}
	before, after = run("a", onCPU(3, cause("ipi", 200, by("old", 200)))), run("b", onCPU(3, cause("ipi", 200, by("new", 200))))
	if r := mustCompare(t, []Run{before}, []Run{after}); r.Verdict != Same || len(r.Moved) != 1 {
		t.Errorf("another process, as often: %s, moved %+v", r.Verdict, r.Moved)
	}
}

// A process that a report did not keep apart is not one that vanished.
func TestOthersAreNobody(t *testing.T) {
	before := run("a", onCPU(3, cause("ipi", 200, by("agent", 200))))
	after := run("b", onCPU(3, cause("ipi", 200, report.Origin{Name: "others", Count: 200})))
	r := mustCompare(t, []Run{before}, []Run{after})
	if len(r.Rows) != 1 || r.Rows[0].Change != NotFound {
		t.Errorf("%+v", r.Rows)
	}
}

func TestNotComparable(t *testing.T) {
	for want, other := range map[string]Run{
		"is about CPU 3, and b about CPU 2": run("b", onCPU(2)),
		"b has no CPU":                      run("b"),
		"b ended before":                    {"b", &report.Report{CPUs: []report.CPU{onCPU(3)}}},
	} {
		_, err := Compare("", []Run{run("a", onCPU(3))}, []Run{other})
		if !errors.Is(err, ErrNotComparable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestLimits(t *testing.T) {
	two := []Run{run("a", onCPU(3)), run("b", onCPU(3))}
	six := slices.Concat(two, two, two)
	other := run("c", onCPU(3))
	other.Report.Host.Kernel = "7.2"
	ticking := run("d", onCPU(3))
	ticking.Report.CPUs[0].Complete = false
	mixed := run("f", onCPU(2), onCPU(3))
	mixed.Report.CPUs[1].Complete = false
	old := run("e", onCPU(3, report.Cause{ID: "tick", Count: 3}))
	for _, tc := range []struct {
		before, after []Run
		want          string
	}{
		{two[:1], two[1:], "one report on each side"},
		{two, six, "2 and 6 reports"},
		{six, six, ""},
		{six, append(slices.Clone(six), other), "kernels differ"},
		{[]Run{ticking}, []Run{ticking}, "not every CPU is nohz_full"},
		{[]Run{old, old}, two, "clusters"},
		{[]Run{mixed}, []Run{mixed}, "not every CPU is nohz_full"},
	} {
		got := strings.Join(mustCompare(t, tc.before, tc.after).Limits, "; ")
		if !strings.Contains(got, tc.want) || tc.want == "" && got != "" {
			t.Errorf("limits %q, want %q", got, tc.want)
		}
	}
}

func TestTexts(t *testing.T) {
	before := run("a.json", onCPU(2, cause("irq", 100)), onCPU(3, cause("tick", 300), cause("gone", 50)))
	after := run("b.json", onCPU(2), onCPU(3, cause("irq", 100), cause("tick", 310), cause("new", 1000, by("a|b\x1b[31m`", 1000))))
	r := mustCompare(t, []Run{before}, []Run{after})
	var text, markdown strings.Builder
	if err := errors.Join(r.WriteText(&text, 80, false), r.WriteMarkdown(&markdown)); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "  ") && !strings.HasPrefix(line, "  -") && len([]rune(line)) > 81 {
			t.Errorf("%d columns: %s", len([]rune(line)), line)
		}
	}
	for name, got := range map[string]string{"text.golden": text.String(), "markdown.golden": markdown.String()} {
		if strings.Contains(got, "\x1b") {
			t.Error("a name reaches the terminal as it is")
		}
		file := filepath.Join("testdata", name)
		want, err := os.ReadFile(file)
		if err != nil || string(want) != got {
			t.Errorf("%v; %s is\n%s\nwant\n%s", err, name, got, want)
		}
	}
}
