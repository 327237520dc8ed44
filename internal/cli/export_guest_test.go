// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	pprof "github.com/google/pprof/profile"

	"github.com/taskiso/taskiso/internal/perfetto/perfettotest"
	"github.com/taskiso/taskiso/internal/report"
)

// exportedProvocations are quick ones, on which no kernel has anything to add, and which somebody else sends.
var exportedProvocations = []string{
	"munmap", "mprotect", "madvise(DONTNEED)", "mremap", "mmap over a mapping", "pkey_mprotect", "fork", "membarrier", "membarrier for code",
	"membarrier for rseq", "membarrier of all", "clear_refs", "modify_ldt", "signal", "ptrace", "move to another cgroup", "write to its memory", "perf on the CPU",
	"perf on the thread", "UDP encapsulation", "schedstats", "delay accounting", "BPF statistics", "BPF attach", "trace event", "stat_refresh",
}

// A timeline of provocations has the breaks of the report, and each provocation is joined with its sender. The other formats have the
// same breaks.
func TestGuestProvokedExports(t *testing.T) {
	dir := t.TempDir()
	name := func(file string) string { return filepath.Join(dir, file) }
	c := exec.Command(guestProgram, "run", "-q", "-c", fmt.Sprint(victimCPU), "--report", name("r.json"), "--events", name("e.ndjson"), "--pprof", name("p.pb.gz"),
		"--record", name("app.rec"), "--", testBinary(t))
	c.Env = append(os.Environ(), victimVariable+"="+name("done"), chosenVariable+"="+strings.Join(exportedProvocations, ","), "GODEBUG=asyncpreemptoff=1", "GOGC=off", "GOMAXPROCS=4")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("observing the victim: %v\n%s", err, out)
	}
	r := readReport(t, name("r.json"))
	for format, file := range map[string]string{"ndjson": "e.ndjson", "pprof": "p.pb.gz"} {
		want, err := os.ReadFile(name(file))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(exported(t, format, name("app.rec")), want) {
			t.Errorf("the export to %s is not what the run wrote", format)
		}
	}
	if lines := bytes.Count(exported(t, "csv", name("app.rec")), []byte("\n1,")); lines != int(r.CPUs[0].Breaks) {
		t.Errorf("the table has %d breaks, and the report %d", lines, r.CPUs[0].Breaks)
	}
	checkProfile(t, exported(t, "pprof", name("app.rec")))
	checkTimeline(t, exported(t, "perfetto", name("app.rec")), &r, readLines[done](t, name("done")))
}

// exported returns a recording in another format.
func exported(t *testing.T, format, recording string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "exported")
	if out, err := exec.Command(guestProgram, "export", format, recording, "-o", file).CombinedOutput(); err != nil {
		t.Fatalf("exporting to %s: %v: %s", format, err, out)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// checkTimeline checks that sums of a timeline are those of the report, and that arrows lead from the senders of provocations to the breaks.
func checkTimeline(t *testing.T, text []byte, r *report.Report, all []done) {
	t.Helper()
	trace, err := perfettotest.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, differs := range append(perfettotest.Compare(trace, r), trace.Flows()...) {
		t.Error(differs)
	}
	if len(all) != len(exportedProvocations) {
		t.Fatalf("%d of %d provocations were made", len(all), len(exportedProvocations))
	}
	joined := 0
	for _, d := range all {
		p := provocations[slices.IndexFunc(provocations, func(p provocation) bool { return p.name == d.Name })]
		switch {
		case strings.HasPrefix(d.Error, errCannot.Error()):
			t.Logf("%s: %s", d.Name, d.Error)
		case d.Error != "" || !isJoined(trace, p, d):
			t.Errorf("%s: no break of %v in its time is joined with %s in %s (%s)", p.name, p.cause, p.from, p.sender, d.Error)
		default:
			joined++
		}
	}
	t.Logf("%d breaks; %d of %d provocations are joined with their senders", len(trace.Breaks()), joined, len(all))
	if joined < 20 {
		t.Errorf("%d provocations are joined with their senders, want at least 20", joined)
	}
}

// isJoined reports whether an arrow leads from the sender of a provocation to a break of its cause.
func isJoined(trace *perfettotest.Trace, p provocation, d done) bool {
	return slices.ContainsFunc(trace.Breaks(), func(b *perfettotest.Slice) bool {
		cause, _ := b.Args["cause"].(string)
		if b.Start < uint64(d.From) || b.Start > uint64(d.To) || !slices.Contains(p.cause, cause) {
			return false
		}
		return slices.ContainsFunc(trace.Senders(b), func(s *perfettotest.Slice) bool {
			stack, _ := s.Args["stack"].(string)
			return s.Args["name"] == p.from && strings.Contains(stack, p.sender) && trace.Path(s.Track)[1] == "senders"
		})
	})
}

// checkProfile checks that a profile opens, with the functions and the process of a sender as frames.
func checkProfile(t *testing.T, text []byte) {
	t.Helper()
	p, err := pprof.ParseData(text)
	if err != nil {
		t.Fatal(err)
	}
	found := slices.ContainsFunc(p.Sample, func(s *pprof.Sample) bool {
		if !slices.Contains(s.Label["cause"], "ipi-membarrier") || len(s.Location) < 3 {
			return false
		}
		outermost := s.Location[len(s.Location)-1].Line[0].Function.Name
		return strings.HasPrefix(outermost, self+" (process ") && slices.ContainsFunc(s.Location, func(l *pprof.Location) bool {
			return strings.Contains(l.Line[0].Function.Name, "membarrier")
		})
	})
	if !found {
		t.Error("the profile has no membarrier with its sender's stack")
	}
}
