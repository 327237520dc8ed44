// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskiso/taskiso/bench/results"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/report"
)

// isolator sets CPUs apart and takes that back.
type isolator struct {
	name                string
	ours                bool
	apply, verify, undo func() (time.Duration, error)
	cgroup              string // that the isolated task has to be in, if any
}

func isolators(peer *tuned) []isolator {
	adm := func(args ...string) func() (time.Duration, error) {
		return func() (time.Duration, error) { return peer.adm(args...) }
	}
	ours := func(args ...string) func() (time.Duration, error) {
		return func() (time.Duration, error) { return timed(guestProgram, append([]string{"partition"}, args...)...) }
	}
	return []isolator{
		{name: "nothing"},
		{name: "tuned", apply: adm("profile", "cpu-partitioning"), verify: adm("verify"), undo: adm("off")},
		{
			name: "taskiso partition", ours: true, cgroup: partition.Cgroup("default"),
			apply: ours("create", "-c", "2-3"), verify: ours("verify", "default"), undo: ours("undo", "default"),
		},
	}
}

// timed runs a program. What it says is in the error.
func timed(name string, args ...string) (time.Duration, error) {
	begin := time.Now()
	out, err := exec.Command(name, args...).CombinedOutput()
	took := time.Since(begin)
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return took, err
}

// isolation is what came of one turn of an isolator.
type isolation struct {
	apply, verify, undo time.Duration
	task                int // its thread
	window              period
	left                []string
}

const (
	peerRounds = 2
	// Disturbances are made this often in a turn. Where one thread emulates all CPUs, a
	// program that spins keeps it for 100 ms whenever another CPU wants something, and
	// they take half a minute.
	peerDisturbances = 2
)

var (
	peerColumns   = []string{"interruptions a minute", "apply, s", "verify, s", "undo, s", "settings not put back"}
	detailColumns = []string{"interruptions a minute but for the tick"}
)

// TestGuestPeersOfPartition measures a partition beside tuned's profile
// cpu-partitioning, in turns.
func TestGuestPeersOfPartition(t *testing.T) {
	if err := os.WriteFile("/proc/irq/4/smp_affinity_list", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	if err := consoleOutput(); err != nil { // with which its interrupt moves
		t.Fatal(err)
	}
	t.Setenv(inheritVariable, "1") // what is started later is where what starts it may be
	peer := startTuned(t, "2-3")
	defer peer.stop()
	t.Cleanup(func() {
		if log, err := os.ReadFile("/var/log/tuned/tuned.log"); err == nil {
			t.Logf("what tuned has logged:\n%s", log[max(0, len(log)-8000):])
		}
	})
	all := isolators(peer)
	files := settingFiles(t)
	for _, i := range all[1:] { // Python compiles what it has not run before
		for _, f := range []func() (time.Duration, error){i.apply, i.verify, i.undo} {
			if took, err := f(); err != nil {
				t.Logf("warming up: %v: %v", took, err)
			}
		}
	}
	events := filepath.Join(t.TempDir(), "e.ndjson")
	w := startWatch(t, "--events", events, "--buffer", "16M")
	turns := make([][]isolation, len(all))
	volatile := map[string]bool{} // what changes if nobody sets anything
	for round := range peerRounds {
		for n := range all {
			n = (n + round) % len(all)
			turns[n] = append(turns[n], takeTurn(t, all[n], files))
		}
	}
	r, _, out := w.stop(t)
	for _, turn := range slices.Concat(turns...) {
		if turn.lost(r) {
			t.Fatalf("lost %+v:\n%s", r.Lost, out)
		}
	}
	for _, turn := range turns[0] {
		for _, name := range turn.left {
			volatile[name] = true
		}
	}
	breaks := readLines[report.Break](t, events)
	table := results.Table{Name: "isolation", Columns: peerColumns, Base: "tuned"}
	detail := results.Table{Name: "detail", Columns: detailColumns}
	for n, i := range all {
		row := results.Row{Name: i.name, Ours: i.ours, Values: make([][]float64, len(peerColumns))}
		more := results.Row{Name: i.name, Ours: i.ours, Values: make([][]float64, len(detailColumns))}
		for _, turn := range turns[n] {
			turn.log(t, i, breaks, r.Began, volatile)
			add(row.Values, turn.values(breaks, r.Began, volatile))
			add(more.Values, turn.detail(breaks, r.Began))
		}
		if i.apply == nil {
			clear(row.Values[1:])
		}
		table.Rows, detail.Rows = append(table.Rows, row), append(detail.Rows, more)
	}
	t.Logf("\n%s\n%s", table.Markdown(), detail.Markdown())
	line, err := json.Marshal(results.File{Peers: map[string]string{"tuned": tunedVersion(t)}, Tables: []results.Table{table, detail}})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(benchedMark + string(line))
}

func takeTurn(t *testing.T, i isolator, files []string) isolation {
	t.Helper()
	var turn isolation
	tellConsole("%s: reading the settings", i.name)
	before := readSettings(t, files)
	tellConsole("%s: applying", i.name)
	turn.apply = do(t, i.apply)
	task := startSpin(t, i.cgroup)
	turn.task = task.Process.Pid
	time.Sleep(time.Second)
	ran := userTime(t, task.Process.Pid)
	tellConsole("%s: disturbing", i.name)
	turn.window = during(func() { disturbInTurns(t) })
	if userTime(t, task.Process.Pid) == ran {
		t.Errorf("%s: the task did not run: nothing could interrupt it", i.name)
	}
	tellConsole("%s: verifying", i.name)
	turn.verify = do(t, i.verify)
	_ = task.Process.Kill()
	_ = task.Wait()
	tellConsole("%s: undoing", i.name)
	turn.undo = do(t, i.undo)
	tellConsole("%s: reading the settings again", i.name)
	turn.left = readSettings(t, files).differ(before)
	return turn
}

// tellConsole is for the console of a guest that hangs.
func tellConsole(format string, args ...any) {
	_ = os.WriteFile("/dev/kmsg", fmt.Appendf(nil, format, args...), 0)
}

// do is for a step of an isolator; what it does not have takes no time. What was
// only partly done is told: tuned ends so as well.
func do(t *testing.T, step func() (time.Duration, error)) time.Duration {
	t.Helper()
	if step == nil {
		return 0
	}
	took, err := step()
	if err != nil {
		t.Logf("%v", err)
	}
	return took
}

func during(f func()) period {
	p := period{from: clock.Now()}
	f()
	p.to = clock.Now()
	return p
}

// spinProgram is testdata/spin.c.
const spinProgram = "/bin/spin"

func startSpin(t *testing.T, cgroup string) *exec.Cmd {
	t.Helper()
	args := []string{fmt.Sprint(victimCPU)}
	if cgroup != "" {
		args = append(args, cgroup)
	}
	c := exec.Command(spinProgram, args...)
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// disturbInTurns makes all disturbances but that of a foreign process, which is told
// apart.
func disturbInTurns(t *testing.T) {
	t.Helper()
	for range peerDisturbances {
		err := errors.Join(anywhere("modules")(), anywhere("timers")(), consoleOutput())
		if crowded := anywhere("crowd")(); !errors.Is(crowded, errReached) {
			err = errors.Join(err, crowded)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func add(series [][]float64, values []float64) {
	for c, v := range values {
		series[c] = append(series[c], v)
	}
}

// values are those of peerColumns.
func (i isolation) values(breaks []report.Break, began time.Duration, volatile map[string]bool) []float64 {
	return []float64{
		i.window.perMinute(total(i.breaks(breaks, began))),
		i.apply.Seconds(), i.verify.Seconds(), i.undo.Seconds(), float64(len(i.notPutBack(volatile))),
	}
}

// detail is that of detailColumns.
func (i isolation) detail(breaks []report.Break, began time.Duration) []float64 {
	causes := i.breaks(breaks, began)
	return []float64{i.window.perMinute(total(causes) - ticks(causes))}
}

// breaks are those of the task, by cause. What others do on its CPU while they have
// it is one break of the task, not theirs.
func (i isolation) breaks(breaks []report.Break, began time.Duration) map[string]int {
	own := slices.DeleteFunc(slices.Clone(breaks), func(b report.Break) bool { return b.TID != uint32(i.task) })
	return breaksIn(own, began, i.window)
}

// lost reports whether events were lost while the task was disturbed.
func (i isolation) lost(r report.Report) bool {
	if r.Lost.OmittedIntervals > 0 {
		return true
	}
	return slices.ContainsFunc(r.Lost.Intervals, func(l report.LostInterval) bool {
		return r.Began+l.To >= i.window.from && r.Began+l.From <= i.window.to
	})
}

func (p period) perMinute(n int) float64 { return float64(n) / (p.to - p.from).Minutes() }

func (i isolation) notPutBack(volatile map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(i.left), func(name string) bool { return volatile[name] })
}

func (i isolation) log(t *testing.T, of isolator, breaks []report.Break, began time.Duration, volatile map[string]bool) {
	t.Helper()
	t.Logf("%s: in %v %v; applied in %v, verified in %v, undone in %v; not put back: %q",
		of.name, i.window.to-i.window.from, i.breaks(breaks, began), i.apply, i.verify, i.undo, i.notPutBack(volatile))
}

// ticks are the breaks by the tick.
func ticks(causes map[string]int) int {
	n := 0
	for _, id := range slices.Sorted(maps.Keys(causes)) {
		if id == "tick" || strings.HasPrefix(id, "tick-") {
			n += causes[id]
		}
	}
	return n
}

func tunedVersion(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("/usr/sbin/tuned", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(string(out), "tuned "))
}
