// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskiso/taskiso/internal/compare"
)

// observeRuns makes reports of runs in which nothing differs, each for a time.
func observeRuns(t *testing.T, n int, each time.Duration) []compare.Run {
	t.Helper()
	dir := t.TempDir()
	var runs []compare.Run
	for i := range n {
		file := filepath.Join(dir, fmt.Sprintf("%d.json", i))
		c := exec.Command(guestProgram, "run", "-q", "-c", fmt.Sprint(victimCPU), "-d", each.String(), "--report", file)
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("run %d: %v\n%s", i, err, out)
		}
		r := readReport(t, file)
		runs = append(runs, compare.Run{Name: fmt.Sprint(i), Report: &r})
	}
	return runs
}

// Of 5 comparisons of real equal runs none or one finds a difference; two would once in 45 times.
func TestGuestSameRuns(t *testing.T) {
	const comparisons, perSide = 5, 5
	runs := observeRuns(t, comparisons*2*perSide, time.Second)
	random := rand.New(rand.NewPCG(1, 2))
	random.Shuffle(len(runs), func(i, j int) { runs[i], runs[j] = runs[j], runs[i] })
	verdicts := map[compare.Verdict]int{}
	for i := range comparisons {
		of := runs[2*perSide*i:]
		result, err := compare.Compare("", of[:perSide], of[perSide:2*perSide])
		if err != nil {
			t.Fatal(err)
		}
		verdicts[result.Verdict]++
		for _, row := range result.Rows {
			if row.Change != compare.NotFound {
				t.Logf("%+v", row)
			}
		}
	}
	t.Logf("%v", verdicts)
	if alarms := verdicts[compare.Worse] + verdicts[compare.Better]; alarms > 1 {
		t.Errorf("%d of %d comparisons of equal runs find a difference", alarms, comparisons)
	}
	if verdicts[compare.Unknown] > comparisons/2 {
		t.Errorf("%d of %d comparisons are unknown", verdicts[compare.Unknown], comparisons)
	}
}

// Text that is patched twice as often interrupts twice as often, and nothing else does.
func TestGuestSeededChange(t *testing.T) {
	const perSide = 6
	var sides [2][]compare.Run
	for side, perSecond := range []float64{4, 8} {
		stop := patchNowAndThen(t, perSecond)
		sides[side] = observeRuns(t, perSide, 8*time.Second)
		stop()
	}
	result, err := compare.Compare("", sides[0], sides[1])
	if err != nil {
		t.Fatal(err)
	}
	var changed []compare.Row
	for _, row := range result.Rows {
		if row.CPU == nil && row.From == nil && row.Change != compare.NotFound {
			changed = append(changed, row)
		}
	}
	t.Logf("%s; %d rows; %+v", result.Verdict, len(result.Rows), changed)
	if len(changed) == 0 {
		t.Errorf("nothing differs: %+v", result.Rows)
	}
	for _, row := range changed {
		if row.Change != compare.More || row.Low > 2 || row.High == nil || *row.High < 2 {
			t.Errorf("%+v", row)
		}
	}
}

// patchNowAndThen switches a tracepoint on or off so many times a second, at times that know nothing of each other.
func patchNowAndThen(t *testing.T, perSecond float64) (stop func()) {
	t.Helper()
	random := rand.New(rand.NewPCG(3, uint64(perSecond)))
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for on := true; ; on = !on {
			select {
			case <-end:
				writeFile(t, tracepoint, "0")
				return
			case <-time.After(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second))):
				writeFile(t, tracepoint, map[bool]string{true: "1", false: "0"}[on])
			}
		}
	}()
	return func() { close(end); <-ended }
}
