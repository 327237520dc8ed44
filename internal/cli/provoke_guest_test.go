// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/report"
)

// Each provocation is made once while taskiso observes the victim, and must be
// found in the time in which it was made: with its cause, who did it, and what.
func TestGuestProvocations(t *testing.T) {
	// Else kcompactd of the victim's node runs there twice a second, now and then just when something is provoked.
	writeFile(t, "/proc/sys/vm/compaction_proactiveness", "0")
	dir := t.TempDir()
	reportFile, eventsFile, doneFile := filepath.Join(dir, "r.json"), filepath.Join(dir, "e.ndjson"), filepath.Join(dir, "done")
	c := exec.Command(guestProgram, "run", "-q", "-c", fmt.Sprint(victimCPU), "--report", reportFile, "--events", eventsFile, "--", testBinary(t))
	c.Env = append(os.Environ(), victimVariable+"="+doneFile, "GODEBUG=asyncpreemptoff=1", "GOGC=off", "GOMAXPROCS=4")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("observing the victim: %v\n%s", err, out)
	}
	r := readReport(t, reportFile)
	breaks := readLines[report.Break](t, eventsFile)
	all := readLines[done](t, doneFile)
	if len(all) != len(provocations) {
		t.Fatalf("%d of %d provocations were made", len(all), len(provocations))
	}
	if r.Lost.Events > 0 {
		t.Logf("lost: %+v", r.Lost)
	}
	for i, p := range provocations {
		t.Run(p.name, func(t *testing.T) { checkProvocation(t, p, all[i], r.Began, breaks) })
	}
}

// harmless says why a provocation breaks nothing on a kernel.
var harmless = map[string]map[string]string{
	"drop_caches": {"6.1": "made, but interrupts no CPU: before Linux 6.6 drop_caches takes no pages from other CPUs"},
	"swapon":      {"7.2": "made, but interrupts no CPU: this kernel has no cache of swap entries on each of them"},
}

func unameRelease(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	return unix.ByteSliceToString(u.Release[:])
}

// kernelOf returns the first two numbers of a release.
func kernelOf(release string) string {
	parts := strings.SplitN(release, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// provokedMark begins a line with the name of a provocation, the cause found, and
// details or the reason why it was not made, between tabs.
const provokedMark = "provoked:\t"

func checkProvocation(t *testing.T, p provocation, d done, began time.Duration, breaks []report.Break) {
	if strings.HasPrefix(d.Error, errCannot.Error()) {
		t.Logf("%s%s\t\t%s", provokedMark, p.name, strings.TrimPrefix(d.Error, errCannot.Error()+": "))
		return
	}
	if d.Error != "" {
		t.Fatalf("provoking: %s", d.Error)
	}
	var found []string
	for _, b := range breaks {
		if at := began + b.At; at < d.From || at > d.To {
			continue
		}
		if slices.Contains(p.cause, b.ID) && (p.sender == "" || hasOrigin(b, p)) {
			t.Logf("%s%s\t%s\t%s", provokedMark, p.name, b.ID, report.BreakLine(b))
			return
		}
		found = append(found, b.ID+" "+report.BreakLine(b))
	}
	if reason := harmless[p.name][kernelOf(unameRelease(t))]; reason != "" {
		t.Logf("%s%s\t\t%s", provokedMark, p.name, reason)
		return
	}
	t.Errorf("no break of cause %v from %s in %s; found\n\t%s", p.cause, p.from, p.sender, strings.Join(found, "\n\t"))
}

func hasOrigin(b report.Break, p provocation) bool {
	return slices.ContainsFunc(b.Origins, func(o report.Origin) bool {
		return o.Name == p.from && slices.ContainsFunc(o.Stack, func(f string) bool { return strings.Contains(f, p.sender) })
	})
}

func readLines[T any](t *testing.T, file string) []T {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []T
	in := json.NewDecoder(bufio.NewReader(f))
	for {
		var v T
		if err := in.Decode(&v); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
		all = append(all, v)
	}
}
