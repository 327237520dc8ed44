// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"encoding/xml"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/report"
)

const example = `
[ticks]
cause = ["tick", "timer-*"]
count = 12

[all]
cpus = "2-3"
except = "syscall"
per_second = 2
longest = "50us"
share = "0.01%"

[systemd]
cause = "ipi-*"
from = "systemd*"
count = 0

[stretch]
quiet = "1s"
`

func TestParse(t *testing.T) {
	b, err := Parse("b.toml", example)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	limits := 0
	for _, r := range b.Rules {
		names = append(names, r.Name)
		limits += len(r.Limits)
	}
	if got := strings.Join(names, " "); got != "ticks all systemd stretch" || limits != 6 {
		t.Errorf("rules %s with %d limits", got, limits)
	}
	if l := b.Rules[1].Limits; l[1] != (Limit{Longest, float64(50 * time.Microsecond)}) || l[2] != (Limit{Share, 0.0001}) {
		t.Errorf("limits of all: %v", l)
	}
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "no rule",
		"[a":                                  "b.toml:1:",
		"count = 0":                           "want a table",
		"[[a]]\ncount = 0":                    "want a table",
		"[a]":                                 "bounds nothing",
		"[a]\ncuont = 0":                      "a.cuont: unknown key",
		"[a]\ncount = -1":                     "count: -1: want 0 or more",
		"[a]\ncount = nan":                    "want 0 or more",
		"[a]\ncount = \"0\"":                  "[a]",
		"[a]\nlongest = \"50\"":               "longest: \"50\": want a duration",
		"[a]\nshare = \"1\"":                  "share: \"1\": want a percentage",
		"[a]\nshare = \"101%\"":               "want a percentage",
		"[a]\nshare = \"1%x\"":                "want a percentage",
		"[a]\ncpus = \"\"\ncount = 0":         "no CPU selected",
		"[a]\ncpus = \"3-\"\ncount = 0":       "cpus: parsing CPU list \"3-\"",
		"[a]\ncause = 3\ncount = 0":           "cause: 3 is not a string",
		"[a]\ncause = [3]\ncount = 0":         "cause: 3 is not a string",
		"[a]\ncause = \"[\"\ncount = 0":       "is not a pattern",
		"[a]\nfrom = \"[\"\ncount = 0":        "is not a pattern",
		"[a]\nfrom = \"x\"\nlongest = \"1s\"": "with from, give count",
		"[a]\ncause = \"x\"\nquiet = \"1s\"":  "goes with no cause",
		"[a.b]\ncount = 0":                    "a.b",
	} {
		if _, err := Parse("b.toml", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		} else if strings.Contains(err.Error(), "strconv") {
			t.Errorf("%q: the error is a library's: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Parse("b.toml", text)
		if (err == nil) != (len(b.Rules) > 0) {
			t.Fatalf("%d rules and %v", len(b.Rules), err)
		}
		if err == nil {
			Sum("", b.Judge("", sample()))
		}
	})
}

// sample is 10 s on CPU 3, of which all is known.
func sample() *report.Report {
	return &report.Report{
		Schema: report.Schema, Duration: 10 * time.Second, Tracing: true,
		CPUs: []report.CPU{{
			CPU: 3, Complete: true, Breaks: 20,
			Quiet: report.Quiet{Longest: 2 * time.Second},
			Causes: []report.Cause{
				{ID: "tick", Count: 12, Total: 120 * time.Microsecond, Max: 20 * time.Microsecond, Lengths: lengths(11, 9*time.Microsecond, 1, 20*time.Microsecond)},
				{ID: "timer-x", Count: 1, Total: 10 * time.Microsecond, Max: 10 * time.Microsecond},
				{ID: "ipi-call", Count: 7, Total: 700 * time.Microsecond, Max: 300 * time.Microsecond, Origins: []report.Origin{
					{Did: report.DidCall, Name: "systemd-journal", Count: 3}, {Did: report.DidCall, Name: "sh", Count: 4},
				}},
			},
		}},
	}
}

// lengths are so many of one length, and so many of another.
func lengths(n int, d time.Duration, m int, e time.Duration) report.Lengths {
	var l report.Lengths
	for range n {
		l.Add(d)
	}
	for range m {
		l.Add(e)
	}
	return l
}

func judgeOne(t *testing.T, text string, r *report.Report) []Judgement {
	t.Helper()
	b, err := Parse("b.toml", text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return b.Judge("", r)
}

func TestJudge(t *testing.T) {
	cpu := 3
	doubt := func(r *report.Report) {
		r.Doubts = []report.Doubt{{Reason: report.DoubtLost, CPU: &cpu, Text: "events were lost"}}
	}
	elsewhere := func(r *report.Report) {
		other := 2
		r.Doubts = []report.Doubt{{Reason: report.DoubtLost, CPU: &other, Text: "events were lost"}}
	}
	atLeast := func(r *report.Report) { r.CPUs[0].Causes[2].AtLeast = true }
	atLeastTick := func(r *report.Report) { r.CPUs[0].Causes[0].AtLeast = true }
	unmeasured := func(r *report.Report) { r.CPUs[0].Causes[0].Unmeasured = 1 }
	withoutOrigin := func(r *report.Report) { r.CPUs[0].Causes[2].Count++ }
	others := func(r *report.Report) { r.CPUs[0].Causes[2].Origins[1] = report.Origin{Name: "others", Count: 4} }
	impostor := func(r *report.Report) { r.CPUs[0].Causes[2].Origins[1].Name = "others" }
	old := func(r *report.Report) { r.Schema = 1 }
	nothing := func(r *report.Report) { r.Duration = 0 }
	incomplete := func(r *report.Report) { r.CPUs[0].Complete = false }
	unnamed := func(r *report.Report) {
		r.CPUs[0].Causes = append(r.CPUs[0].Causes, report.Cause{ID: report.Unnamed, Count: 1})
	}
	unknownStretch := func(r *report.Report) { r.CPUs[0].Quiet.Unknown = 1 }
	for _, tc := range []struct {
		rule     string
		change   func(*report.Report)
		measured float64
		want     Verdict
	}{
		{"cause = \"tick\"\ncount = 12", nil, 12, Met},
		{"cause = \"tick\"\ncount = 11", nil, 12, Exceeded},
		{"cause = \"tick\"\ncount = 12", doubt, 12, Unknown},
		{"cause = \"tick\"\ncount = 11", doubt, 12, Exceeded},
		{"cause = \"tick\"\ncount = 12", elsewhere, 12, Met},
		{"cause = \"tick\"\ncount = 12", old, 12, Unknown},
		{"cause = [\"tick\", \"timer-*\"]\ncount = 12", nil, 13, Exceeded},
		{"except = [\"tick\", \"timer-*\"]\ncount = 7", nil, 7, Met},
		{"count = 20", nil, 20, Met},
		{"cause = \"none\"\ncount = 0", nil, 0, Met},
		{"cpus = \"2\"\ncount = 20", nil, 0, Unknown},
		{"cause = \"none\"\ncount = 0", incomplete, 0, Unknown}, // it may have come without an event
		{"cause = \"none\"\nlongest = \"1s\"", incomplete, 0, Unknown},
		{"cause = \"tick\"\ncount = 12", incomplete, 12, Unknown}, // at least, as with --max-breaks
		{"cause = \"tick\"\ncount = 11", incomplete, 12, Exceeded},
		{"per_second = 2.0", incomplete, 2, Unknown},
		{"quiet = \"2s\"", incomplete, 2e9, Unknown},
		{"quiet = \"3s\"", incomplete, 2e9, Exceeded}, // what came unseen cannot have made it longer
		{"cause = \"tick\"\ncount = 12", unnamed, 12, Unknown},
		{"cause = \"tick\"\ncount = 11", unnamed, 12, Exceeded},
		{"except = \"tick\"\ncount = 8", unnamed, 9, Exceeded},
		{"per_second = 2.0", nil, 2, Met},
		{"per_second = 1.9", nil, 2, Exceeded},
		{"per_second = 2.0", nothing, 0, Unknown},
		{"longest = \"300us\"", nil, 300e3, Met},
		{"longest = \"299us\"", nil, 300e3, Exceeded},
		{"longest = \"300us\"", atLeast, 300e3, Unknown},
		{"longest = \"299us\"", atLeast, 300e3, Exceeded},
		{"cause = \"tick\"\nlongest = \"20us\"", atLeast, 20e3, Met},
		{"cause = \"tick\"\nlongest = \"20us\"", unmeasured, 20e3, Unknown},
		{"cause = \"tick\"\ncount = 12", unmeasured, 12, Met},
		{"share = \"0.0083%\"", nil, 0.000083, Met},
		{"share = \"0.0082%\"", nil, 0.000083, Exceeded},
		{"share = \"0.0083%\"", unmeasured, 0.000083, Unknown},
		{"cause = \"tick\"\np50 = \"12us\"", nil, 8192, Met},
		{"cause = \"tick\"\np50 = \"8us\"", nil, 8192, Exceeded},
		{"cause = \"tick\"\np50 = \"9us\"", nil, 8192, Unknown},   // it is in the bucket up to 10.24 us
		{"cause = \"tick\"\np50 = \"8us\"", doubt, 8192, Unknown}, // what was not seen may have been shorter
		{"cause = \"tick\"\np50 = \"8us\"", unmeasured, 8192, Unknown},
		{"cause = \"tick\"\np999 = \"25us\"", nil, 16384, Met},
		{"cause = \"tick\"\np99 = \"16us\"", nil, 16384, Exceeded},
		{"cause = \"none\"\np99 = \"1us\"", nil, 0, Met},
		{"cause = \"ipi-*\"\np99 = \"1us\"", nil, 0, Unknown}, // a report without lengths
		{"cause = \"tick\"\np99 = \"25us\"", atLeastTick, 16384, Unknown},
		{"cause = \"tick\"\np99 = \"16us\"", atLeastTick, 16384, Exceeded},
		{"quiet = \"2s\"", nil, 2e9, Met},
		{"quiet = \"3s\"", nil, 2e9, Exceeded},
		{"quiet = \"2s\"", doubt, 2e9, Unknown},
		{"quiet = \"3s\"", unknownStretch, 2e9, Unknown},
		{"cause = \"ipi-*\"\nfrom = \"systemd*\"\ncount = 3", nil, 3, Met},
		{"cause = \"ipi-*\"\nfrom = \"systemd*\"\ncount = 2", nil, 3, Exceeded},
		{"cause = \"ipi-*\"\nfrom = \"systemd*\"\ncount = 3", withoutOrigin, 3, Unknown},
		{"cause = \"ipi-*\"\nfrom = \"systemd*\"\ncount = 3", others, 3, Unknown},
		{"cause = \"ipi-*\"\nfrom = \"systemd*\"\ncount = 3", impostor, 3, Met},
		{"from = \"systemd*\"\ncount = 3", nil, 3, Unknown}, // of ticks nobody is the origin
	} {
		r := sample()
		if tc.change != nil {
			tc.change(r)
		}
		got := judgeOne(t, "[a]\n"+tc.rule, r)
		if len(got) != 1 || got[0].Verdict != tc.want || got[0].Measured != tc.measured || (tc.want == Unknown) != (len(got[0].Reasons) > 0) {
			t.Errorf("%q: %+v, want %s of %v", tc.rule, got, tc.want, tc.measured)
		}
	}
}

// Who accepts a lower bound accepts nothing else.
func TestAcceptLowerBound(t *testing.T) {
	for rule, want := range map[string]Verdict{
		"cause = \"tick\"\ncount = 12":          Met,
		"cause = \"tick\"\ncount = 11":          Exceeded,
		"cause = \"none\"\ncount = 0":           Met,
		"cause = \"tick\"\nlongest = \"20us\"":  Met,
		"cause = \"timer-*\"\nlongest = \"1s\"": Unknown, // a break has no duration
		"quiet = \"2s\"":                        Unknown, // an upper bound
		"cpus = \"2\"\ncount = 20":              Unknown,
	} {
		b, err := Parse("test.toml", "[a]\n"+rule)
		if err != nil {
			t.Fatal(err)
		}
		b.AcceptLowerBound = true
		r := sample()
		r.CPUs[0].Complete, r.CPUs[0].Causes[0].AtLeast, r.CPUs[0].Causes[1].Unmeasured = false, true, 1
		r.Doubts = []report.Doubt{{Reason: report.DoubtUntracked, Text: "no break was seen"}}
		if got := b.Judge("", r); got[len(got)-1].Verdict != want {
			t.Errorf("%q: %+v, want %s", rule, got, want)
		}
	}
}

// Of many CPUs that a rule names in vain one is judged.
func TestCPUsOfARule(t *testing.T) {
	got := judgeOne(t, "[a]\ncpus = \"0-8191\"\ncount = 20", sample())
	if len(got) != 2 || got[0].CPU != 3 || got[0].Verdict != Met || got[1].CPU != 0 || got[1].Verdict != Unknown {
		t.Errorf("%+v", got)
	}
}

func TestSum(t *testing.T) {
	for want, all := range map[Verdict][]Verdict{
		Met: {Met, Met}, Unknown: {Met, Unknown}, Exceeded: {Unknown, Exceeded, Met},
	} {
		var list []Judgement
		for _, v := range all {
			list = append(list, Judgement{Verdict: v})
		}
		if got := Sum("", list).Verdict; got != want {
			t.Errorf("of %v comes %s, want %s", all, got, want)
		}
	}
	if got := Sum("", nil).Verdict; got != Unknown {
		t.Errorf("of nothing comes %s", got)
	}
}

const shown = "[ticks]\ncause = \"tick\"\ncount = 0\nlongest = \"1s\"\n\n[q]\nquiet = \"3s\"\n\n[c2]\ncpus = \"2\"\ncount = 0\n"

func TestText(t *testing.T) {
	r := Sum("v", judgeOne(t, shown, sample()))
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/result.golden"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || text.String() != string(want) {
		t.Errorf("%v, got:\n%s", err, &text)
	}
}

func TestAnnotations(t *testing.T) {
	var out strings.Builder
	r := Result{Judgements: []Judgement{
		{Rule: "a,b:c%\n", CPU: 3, Figure: Count, Measured: 12, Verdict: Exceeded},
		{Rule: "u", CPU: 2, Figure: Longest, Verdict: Unknown, Reasons: []string{"CPU 2 was not observed"}},
		{Rule: "m", Verdict: Met},
	}}
	if err := r.WriteAnnotations(&out); err != nil {
		t.Fatal(err)
	}
	want := "::error title=budget exceeded%2C a%2Cb%3Ac%25%0A%3A breaks on CPU 3::12, at most 0\n" +
		"::warning title=budget unknown%2C u%3A longest break on CPU 2::0 ns, at most 0 ns; not known: CPU 2 was not observed\n"
	if out.String() != want {
		t.Errorf("got:\n%swant:\n%s", &out, want)
	}
}

func TestJUnit(t *testing.T) {
	r := Sum("v", judgeOne(t, shown, sample()))
	var out strings.Builder
	if err := r.WriteJUnit(&out); err != nil {
		t.Fatal(err)
	}
	var got junitSuites
	if err := xml.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	s := got.Suite
	if s.Tests != 4 || s.Failures != 2 || s.Errors != 1 || len(s.Cases) != 4 || s.Cases[0].Failure == nil || s.Cases[1].Failure != nil || s.Cases[3].Error == nil {
		t.Errorf("got %+v of\n%s", s, &out)
	}
}

// The reports that a budget was made from meet it, and one with another cause, more of one, or a longer one does not.
func TestPropose(t *testing.T) {
	quiet := sample()
	quiet.CPUs[0].Causes = quiet.CPUs[0].Causes[:1]
	var text strings.Builder
	if err := Propose(&text, 1.5, []*report.Report{quiet, sample()}); err != nil {
		t.Fatal(err)
	}
	verdict := func(change func(c *report.CPU)) Verdict {
		r := sample()
		change(&r.CPUs[0])
		return Sum("", judgeOne(t, text.String(), r)).Verdict
	}
	for name, tc := range map[string]struct {
		change func(c *report.CPU)
		want   Verdict
	}{
		"the same":        {func(*report.CPU) {}, Met},
		"nothing":         {func(c *report.CPU) { c.Causes = nil }, Met},
		"a few more":      {func(c *report.CPU) { c.Causes[0].Count = 22 }, Met},
		"twice as often":  {func(c *report.CPU) { c.Causes[0].Count = 24 }, Exceeded},
		"twice as long":   {func(c *report.CPU) { c.Causes[0].Max *= 2 }, Exceeded},
		"another cause":   {func(c *report.CPU) { c.Causes[1].ID = "task-user" }, Exceeded},
		"lengths unknown": {func(c *report.CPU) { c.Causes[0].AtLeast = true }, Unknown},
	} {
		if got := verdict(tc.change); got != tc.want {
			t.Errorf("%s: %s, want %s, of\n%s", name, got, tc.want, &text)
		}
	}
	incomplete := sample()
	incomplete.CPUs[0].Complete = false
	if err := Propose(&text, 1.5, []*report.Report{sample(), incomplete}); err != nil || !strings.Contains(text.String(), "# CPU 3 of report 2 is not nohz_full: there a limit is met only with --accept-lower-bound\n") {
		t.Errorf("error %v, no such comment in\n%s", err, &text)
	}
	if err := Propose(&text, 1.5, []*report.Report{{}}); err == nil {
		t.Error("a budget was made of a report of nothing")
	}
}

// A number in a budget is never less than what was seen, or its own report would exceed it.
func TestUp(t *testing.T) {
	for v, want := range map[float64]string{0: "0.0", 1: "1.00", 0.0012345: "0.00124", 12: "12.0", 1234.5: "1240.0", 99.95: "100.0", 43.3: "43.3"} {
		if got := up(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	for d, want := range map[time.Duration]time.Duration{0: 0, 999: 999, 1001: 1010, 123456: 124000} {
		if got := roundUp(d); got != want {
			t.Errorf("%d: %d, want %d", d, got, want)
		}
	}
}
