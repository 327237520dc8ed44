// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/claim"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/trace"
)

// The tests of `taskiso run` on the machine at hand. They change nothing there;
// what needs other machines is in guest_test.go.
func TestRun(t *testing.T) {
	before := affinities(t)
	h := host{program: buildProgram(t)}
	for name, test := range map[string]func(*testing.T){
		"ExitStatus":         h.testExitStatus,
		"BadInput":           h.testBadInput,
		"Output":             h.testOutput,
		"WithoutDashes":      h.testCommandWithoutDashes,
		"StreamsAndUser":     h.testStreamsAndUser,
		"Duration":           h.testDuration,
		"Descendants":        h.testDescendants,
		"LoopDoesNotFault":   h.testLoopDoesNotFault,
		"MaxBreaks":          h.testMaxBreaks,
		"UnknownNeverPasses": h.testUnknownNeverPasses,
		"TwoRunsOnOneCPU":    h.testTwoRunsOnOneCPU,
		"JSON":               h.testJSON,
		"Unprivileged":       h.testUnprivileged,
		"NotIsolable":        h.testUnprivilegedIsolation,
		"Completion":         h.testCompletion,
		"CompletionAlone":    h.testCompletionWithoutPackage,
		"MonitorNeedsCPUs":   h.testMonitorNeedsCPUs,
		"Ready":              h.testReady,
		"EndsASettlingCall":  h.testDurationEndsASettlingCall,
		"InterruptCommand":   h.testInterruptCommand,
		"InterruptLoop":      h.testInterruptLoop,
		"LoopCannotTell":     h.testLoopThatCannotTell,
		"Terminate":          h.testTerminate,
		"NothingIsLeftOver":  h.testNothingIsLeftOver,
	} {
		t.Run(name, test)
	}
	if after := affinities(t); !maps.Equal(before, after) {
		t.Errorf("threads of this test were allowed on %v before and on %v after", before, after)
	}
}

// affinities maps each thread of this process that is there from beginning to
// end, its first, to where it may run.
func affinities(t *testing.T) map[int]string {
	t.Helper()
	set, err := affinity.Of(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return map[int]string{os.Getpid(): set.String()}
}

// host runs the program on this machine.
type host struct{ program string }

type result struct {
	code           int
	stdout, stderr string
}

// runLimit is how long anything may take, on however busy a machine.
const runLimit = 2 * time.Minute

func (h host) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, h.program, args...)
}

// run runs taskiso to its end. Where another run has the CPU, one that is not of
// this test, it waits for its turn.
func (h host) run(t *testing.T, args ...string) result {
	t.Helper()
	return h.runAs(t, nil, args...)
}

func (h host) runAs(t *testing.T, as *syscall.Credential, args ...string) result {
	t.Helper()
	var r result
	untilFree(func() string {
		c := h.command(t, args...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		c.Dir = "/"
		var stdout, stderr bytes.Buffer
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := c.Run(); err != nil && c.ProcessState == nil {
			t.Fatalf("running taskiso %q: %v", args, err)
		}
		r = result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
		return r.stderr
	})
	return r
}

// untilFree has taskiso run again as long as another run, one that is not of this test, has its CPU. run returns what taskiso
// printed to standard error.
func untilFree(run func() string) {
	for deadline := time.Now().Add(runLimit); strings.Contains(run(), claim.ErrInUse.Error()) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
}

// running is taskiso with a command that said it is ready.
type running struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
	err *bytes.Buffer
}

// group prepares taskiso in a process group of its own, which ends with it when
// the test takes too long.
func (h host) group(t *testing.T, args ...string) running {
	t.Helper()
	r := running{Cmd: h.command(t, args...), err: new(bytes.Buffer)}
	r.Stderr, r.SysProcAttr = r.err, &syscall.SysProcAttr{Setpgid: true}
	r.Cancel = func() error { return unix.Kill(-r.Process.Pid, unix.SIGKILL) }
	return r
}

// start starts taskiso in a process group of its own, with a command that prints
// "ready" first.
func (h host) start(t *testing.T, args ...string) running {
	t.Helper()
	for deadline := time.Now().Add(runLimit); ; time.Sleep(100 * time.Millisecond) {
		r := h.group(t, args...)
		out, err := r.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if r.in, err = r.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		r.out = bufio.NewReader(out)
		line, err := r.out.ReadString('\n')
		if err == nil && line == "ready\n" {
			return r
		}
		r.Wait()
		if !strings.Contains(r.err.String(), claim.ErrInUse.Error()) || time.Now().After(deadline) {
			t.Fatalf("taskiso %q said %q, error %v, %s", args, line, err, r.err)
		}
	}
}

// end waits for the end and returns the exit status.
func (r running) end(t *testing.T) int {
	t.Helper()
	io.Copy(io.Discard, r.out)
	r.Wait() // how it ended is in ProcessState
	if err := unix.Kill(-r.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("processes of its group are left: %v", err)
	}
	return r.ProcessState.ExitCode()
}

// checkOneLine makes sure that an error is a single line of taskiso's.
func checkOneLine(t *testing.T, stderr, want string) {
	t.Helper()
	if !strings.HasPrefix(stderr, "taskiso: ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("standard error is not one line beginning with taskiso: %q", stderr)
	}
	if !strings.Contains(stderr, want) {
		t.Errorf("standard error %q does not say %q", stderr, want)
	}
}

func (h host) testExitStatus(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name    string
		command []string
		code    int
		says    string // "" for nothing at all
	}{
		{"success", []string{"true"}, 0, ""},
		{"its own", []string{"sh", "-c", "exit 7"}, 7, ""},
		{"3, as for too many breaks", []string{"sh", "-c", "exit 3"}, 3, ""},
		{"SIGTERM", []string{"sh", "-c", "kill -TERM $$"}, 128 + 15, ""},
		{"SIGKILL", []string{"sh", "-c", "kill -KILL $$"}, 128 + 9, ""},
		{"not in PATH", []string{"no-such-program"}, 127, "no-such-program"},
		{"not there", []string{"/no/such/program"}, 127, "/no/such/program"},
		{"not executable", []string{plain}, 126, plain},
		{"a directory", []string{"/"}, 126, "executing /"},
	} {
		r := h.run(t, append([]string{"run", "-q", "--"}, tc.command...)...)
		if r.code != tc.code {
			t.Errorf("%s: exit status %d, want %d; %s", tc.name, r.code, tc.code, r.stderr)
		}
		switch {
		case tc.says != "":
			checkOneLine(t, r.stderr, tc.says)
		case r.stderr != "" || r.stdout != "":
			t.Errorf("%s: printed %q and %q, want nothing", tc.name, r.stdout, r.stderr)
		}
	}
}

func (h host) testBadInput(t *testing.T) {
	m := thisMachine(t)
	last, _ := m.Possible.Last()
	unknown, all := strconv.Itoa(last+1), m.Online.String()
	dir := t.TempDir()
	noMonitor, err := filepath.Abs("testdata/not.dot")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"unknown CPU", []string{"-c", unknown}, 2, "CPU " + unknown},
		{"CPU that no machine has", []string{"-c", "99999999999999999999"}, 2, "99999999999999999999"},
		{"empty list", []string{"-c", ""}, 2, "the value is empty"},
		{"malformed list", []string{"-c", "0,x"}, 2, `"x"`},
		{"backward range", []string{"-c", "1-0"}, 2, "1-0"},
		{"all CPUs", []string{"-c", all}, 2, "CPU " + all},
		{"housekeeping on the same CPU", []string{"-c", "0", "-H", "0"}, 2, "CPU 0"},
		{"negative duration", []string{"-d", "-1s"}, 2, "negative"},
		{"duration of nothing", []string{"-d", "0"}, 2, "duration of 0"},
		{"no duration", []string{"-d", "soon"}, 2, `"soon"`},
		{"endless duration", []string{"-d", "1e300"}, 2, "too long"},
		{"negative warm-up", []string{"--warm-up", "-1"}, 2, "negative"},
		{"negative number of breaks", []string{"--max-breaks", "-1"}, 2, "max-breaks"},
		{"quiet and verbose", []string{"-q", "-v"}, 2, "exclude each other"},
		{"unknown flag", []string{"--colour"}, 2, "--colour"},
		{"unknown monitor", []string{"--monitor", "quiet"}, 2, `unknown monitor "quiet": there are isolation, poke3, quiet_user;`},
		{"monitor in no file", []string{"--monitor", dir + "/none.dot"}, 2, dir + "/none.dot: no such file"},
		{"monitor that is none", []string{"--monitor", noMonitor}, 2, noMonitor + ": parsing automaton: not an automaton"},
		{"negative settle time", []string{"--settle", "-1s"}, 2, "negative"},
		{"isolable CPU that is not observed", []string{"-c", "1", "--isolable", "0"}, 2, "CPU 0 is not observed"},
		{"isolable CPU that is not there", []string{"--isolable", unknown}, 2, "CPU " + unknown},
		{"start on a CPU that is not there", []string{"--start-on", unknown}, 2, "CPU " + unknown},
		{"unknown user", []string{"--user", "no-such-user"}, 2, "no-such-user"},
		{"report in no directory", []string{"--report", dir + "/none/report.json"}, 125, dir + "/none/report.json"},
		{"report over a directory", []string{"--report", dir}, 125, dir},
		{"events in no directory", []string{"--events", dir + "/none/events"}, 125, dir + "/none/events"},
		{"report where none can be", []string{"--report", "/proc/report.json"}, 125, "/proc/report.json"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			marker := filepath.Join(t.TempDir(), "ran")
			r := h.run(t, append(append([]string{"run"}, tc.args...), "--", "touch", marker)...)
			if r.code != tc.code || r.stdout != "" {
				t.Errorf("exit status %d, want %d; printed %q", r.code, tc.code, r.stdout)
			}
			checkOneLine(t, r.stderr, tc.says)
			if _, err := os.Stat(marker); err == nil {
				t.Error("the command ran all the same")
			}
		})
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left in the directory: %v, error %v", left, err)
	}

	for _, tc := range []struct {
		name string
		args []string
		says string
	}{
		{"no command after --", []string{"run", "--"}, "no command after --"},
		{"file without =", []string{"run", "--hold", "hold.toml", "--", "true"}, "write --hold=hold.toml"},
		{"user without a command", []string{"run", "--user", "root"}, "needs a command"},
		{"unknown command", []string{"isolate"}, "isolate"},
	} {
		r := h.run(t, tc.args...)
		if r.code != 2 || r.stdout != "" {
			t.Errorf("%s: exit status %d, want 2; printed %q", tc.name, r.code, r.stdout)
		}
		checkOneLine(t, r.stderr, tc.says)
	}
}

// watch and noise have no command whose output must be kept apart: they print to standard output, run and faults to
// standard error, and each to the file of -o instead, where there is nothing but the report.
func (h host) testOutput(t *testing.T) {
	needTracing(t)

	cpu, _ := thisMachine(t).Online.Last()
	here := strconv.Itoa(cpu)
	for _, tc := range []struct {
		args           []string
		says, fileSays string
		stdout         bool
	}{
		{[]string{"run", "-c", here, "-d", "300ms"}, "done to it ", "busy loop, process ", false},
		{[]string{"run", "-c", here, "-d", "300ms", "--full"}, "busy loop, process ", "busy loop, process ", false},
		{[]string{"watch", "-c", here, "-d", "300ms"}, "every user task, ", "every user task on the CPUs", true},
		{[]string{"noise", "-c", here, "-d", "300ms"}, "taskiso noise:", "taskiso noise:", true},
		{[]string{"faults", "true"}, "faults", "faults", false},
	} {
		with := func(flags ...string) []string { return append(append(tc.args[:1:1], flags...), tc.args[1:]...) }
		r := h.run(t, tc.args...)
		report, other := r.stderr, r.stdout
		if tc.stdout {
			report, other = r.stdout, r.stderr
		}
		if r.code != 0 || !strings.Contains(report, tc.says) || other != "" {
			t.Errorf("%q: exit status %d, printed %q and %q", tc.args, r.code, r.stdout, r.stderr)
		}
		file, jsonFile := filepath.Join(t.TempDir(), "report.txt"), filepath.Join(t.TempDir(), "report.json")
		r = h.run(t, with("-o", file, "--report", jsonFile)...)
		text, err := os.ReadFile(file)
		if r.code != 0 || r.stdout+r.stderr != "" || err != nil || !strings.Contains(string(text), tc.fileSays) || strings.Contains(string(text), "\x1b") {
			t.Errorf("%q -o: exit status %d, printed %q and %q; %v, %.100q", tc.args, r.code, r.stdout, r.stderr, err, text)
		}
		if text, err := os.ReadFile(jsonFile); err != nil || !json.Valid(text) {
			t.Errorf("%q --report: %v, %.100q", tc.args, err, text)
		}
		var out []byte
		untilFree(func() string {
			c := h.command(t, tc.args...)
			c.Env = append(os.Environ(), "LC_ALL=C")
			out, err = c.CombinedOutput()
			return string(out)
		})
		if err != nil || strings.ContainsFunc(string(out), func(r rune) bool { return r > unicode.MaxASCII }) {
			t.Errorf("%q with LC_ALL=C: %v, %s", tc.args, err, out)
		}
	}
}

// Flags end at the first word that is none: what follows is the command's, as with env(1) and timeout(1).
func (h host) testCommandWithoutDashes(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"echo", "-l", "--json", "-c", "9999"}, "-l --json -c 9999\n"},
		{[]string{"echo", "--", "-q"}, "-- -q\n"},
		{[]string{"--", "echo", "--", "-q"}, "-- -q\n"},
		{[]string{"--duration", "1h", "echo", "--duration", "0"}, "--duration 0\n"},
	} {
		r := h.run(t, append([]string{"run", "-q"}, tc.args...)...)
		if tc.want != "" && (r.code != 0 || r.stdout != tc.want) {
			t.Errorf("run %q: exit status %d, printed %q and %q, want %q", tc.args, r.code, r.stdout, r.stderr, tc.want)
		}
	}
	if r := h.run(t, "faults", "-q", "--", "echo", "-x"); r.code == 0 && r.stdout != "-x\n" {
		t.Errorf("faults printed %q", r.stdout)
	}
	if os.Geteuid() == 0 {
		r := h.run(t, "run", "-q", "--user", "54321", "sh", "-c", "id -u; id -g; id -G")
		if r.code != 0 || r.stdout != "54321\n54321\n54321\n" {
			t.Errorf("--user 54321: exit status %d, printed %q and %q", r.code, r.stdout, r.stderr)
		}
	}
}

func (h host) testStreamsAndUser(t *testing.T) {
	r := h.start(t, "run", "-q", "--", "sh", "-c", "echo ready; cat; echo wrong >&2")
	fmt.Fprintln(r.in, "passed through")
	r.in.Close()
	out, err := io.ReadAll(r.out)
	if err != nil {
		t.Error(err)
	}
	if code := r.end(t); code != 0 || string(out) != "passed through\n" || r.err.String() != "wrong\n" {
		t.Errorf("exit status %d, printed %q and %q", code, out, r.err)
	}

	if os.Geteuid() != 0 {
		return
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("no other user to run as: %v", err)
	}
	got := h.run(t, "run", "-q", "--user", "nobody", "--", "sh", "-c", "id -u; id -g; echo $USER")
	if want := nobody.Uid + "\n" + nobody.Gid + "\nnobody\n"; got.code != 0 || got.stdout != want {
		t.Errorf("exit status %d, printed %q and %q, want %q", got.code, got.stdout, got.stderr, want)
	}
}

// When the time is over, the command is ended and that is no failure.
func (h host) testDuration(t *testing.T) {
	r := h.run(t, "run", "-d", "300ms", "--json", "--", "sleep", "600")
	if r.code != 0 {
		t.Errorf("exit status %d, want 0; %s", r.code, r.stderr)
	}
	got := parseReport(t, r.stdout)
	if got.Task.EndedBy != "duration" || got.Task.Status == nil || *got.Task.Status != 128+15 {
		t.Errorf("task %+v, want one that SIGTERM ended after the duration", got.Task)
	}
	if got.Duration < 200*time.Millisecond || got.Duration > 30*time.Second {
		t.Errorf("observed for %v, want 300 ms", got.Duration)
	}
}

// A thread that waits for its CPU to become quiet, which another keeps busy, does
// not keep the observation from its end.
func (h host) testDurationEndsASettlingCall(t *testing.T) {
	needTracing(t)
	cpu, _ := thisMachine(t).Online.Last()
	n := strconv.Itoa(cpu)
	var out bytes.Buffer
	for d := 500 * time.Millisecond; d < time.Minute; d *= 2 { // until the call comes before the end
		var c running
		var err error
		untilFree(func() string {
			out.Reset()
			c = h.group(t, "run", "-c", n, "--isolable", n, "--settle", "1h", "-d", d.String(), "--json", "--", "sh", "-c", `while :; do :; done >/dev/null 2>&1 & exec "$0"`, os.Args[0])
			c.Env = append(os.Environ(), prctlVariable+"=1", "GODEBUG=asyncpreemptoff=1") // whose signals would interrupt the call
			c.Stdout = &out
			err = c.Run() // ends after an hour otherwise, or at the limit
			unix.Kill(-c.Process.Pid, unix.SIGKILL)
			return c.err.String()
		})
		if err != nil {
			t.Fatalf("%v; %s", err, c.err)
		}
		if strings.Contains(out.String(), "taskiso, which ended") {
			return
		}
	}
	t.Errorf("the report does not name why the call had no success:\n%s", out.String())
}

func (h host) testDescendants(t *testing.T) {
	needTracing(t)
	file := filepath.Join(t.TempDir(), "report.json")
	r := h.run(t, "run", "--report", file, "sh", "-c", "sleep 0.01; sleep 600 </dev/null >/dev/null 2>&1 & echo $!")
	pid, err := strconv.Atoi(strings.TrimSpace(r.stdout))
	if err != nil || r.code != 0 {
		t.Fatalf("exit status %d, %q, %s", r.code, r.stdout, r.stderr)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Errorf("process %d did not go on: %v", pid, err)
	}
	if got := readReport(t, file).Task.Left; len(got) != 1 || got[0] != (report.Process{PID: pid, Name: "sleep"}) {
		t.Errorf("left behind: %+v, want process %d", got, pid)
	}
	if want := fmt.Sprintf("still running after the command: sleep (process %d)", pid); !strings.Contains(r.stderr, want) {
		t.Errorf("no %q in:\n%s", want, r.stderr)
	}
	r = h.run(t, "run", "-d", "100ms", "--", "sleep", "600")
	if !strings.Contains(r.stderr, ", ended by --duration") || strings.Contains(r.stderr, "still running") {
		t.Errorf("ended by --duration:\n%s", r.stderr)
	}
}

// The busy loop writes down each gap: that must not be a break of its own.
func (h host) testLoopDoesNotFault(t *testing.T) {
	needTracing(t)
	r := h.run(t, "run", "-d", "1s", "--json")
	if r.code != 0 {
		t.Fatalf("exit status %d: %s", r.code, r.stderr)
	}
	got := parseReport(t, r.stdout)
	if len(got.Loop) == 0 || got.Loop[0].Gaps == 0 {
		t.Errorf("the loop noted nothing: %+v", got.Loop)
	}
	for _, cpu := range got.CPUs {
		for _, c := range cpu.Causes {
			if c.ID == "page-fault" {
				t.Errorf("CPU %d: %d page faults", cpu.CPU, c.Count)
			}
		}
	}
}

func (h host) testMaxBreaks(t *testing.T) {
	needTracing(t)
	// Starting a program alone breaks many times.
	r := h.run(t, "run", "-q", "--max-breaks", "1", "--", "sh", "-c", "true")
	if r.code != 3 {
		t.Errorf("exit status %d, want 3", r.code)
	}
	checkOneLine(t, r.stderr, "more than --max-breaks 1")
	if r := h.run(t, "run", "-q", "--max-breaks", "1", "--", "sh", "-c", "exit 9"); r.code != 9 {
		t.Errorf("exit status %d, want the command's own, 9", r.code)
	}
}

// What is not known does not pass, however many breaks are allowed; each line says why.
func (h host) testUnknownNeverPasses(t *testing.T) {
	needTracing(t)
	m := thisMachine(t)
	cpu, _ := m.Online.Last()
	other, _ := m.Online.First()
	here, there := strconv.Itoa(cpu), strconv.Itoa(other)
	sleeper := exec.Command("sleep", "600")
	if err := sleeper.Start(); err != nil {
		t.Fatal(err)
	}
	defer sleeper.Process.Kill()
	const loop = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"
	many := []string{"-q", "--max-breaks", "1000000000", "--accept-lower-bound"}
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string
	}{
		{"on its CPU", append([]string{"run", "-c", here}, append(many, "--", "sh", "-c", loop)...), 0, ""},
		{"on another CPU", append([]string{"run", "-c", here}, append(many, "--", "taskset", "-c", there, "sh", "-c", loop)...), 125, "on CPU " + there + ", which is not observed"},
		{"a child on another CPU", append([]string{"run", "-c", here}, append(many, "--", "sh", "-c", "taskset -c "+there+" sh -c '"+loop+"'; true")...), 125, "on CPU " + there + ", which is not observed"},
		{"started on another CPU", append([]string{"run", "-c", here, "--start-on", there}, append(many, "--", "taskset", "-c", here, "sh", "-c", loop)...), 0, ""},
		{"a lower bound", []string{"run", "-c", here, "-q", "--max-breaks", "1000000000", "--", "sh", "-c", loop}, 125, "CPU " + here + " is not nohz_full and nothing reports every kernel entry there: boot with nohz_full=" + here + ", or add --accept-lower-bound"},
		{"over before the warm-up", append([]string{"run", "-c", here, "--warm-up", "1h"}, append(many, "--", "true")...), 125, "within the warm-up of 1h0m0s"},
		{"a thread that sleeps", append([]string{"watch", "-d", "300ms", "-t", strconv.Itoa(sleeper.Process.Pid)}, many...), 125, "no watched thread was seen in user mode"},
		{"noise that never began", []string{"noise", "-q", "-c", here, "--warm-up", "1h", "--trace-limit", "1h"}, 125, "nothing was measured"},
	} {
		var r result
		if tc.args[0] == "noise" {
			r = h.interrupted(t, tc.args...)
		} else {
			r = h.run(t, tc.args...)
		}
		if tc.name == "a lower bound" && m.NohzFull.Contains(cpu) {
			continue
		}
		if tc.code == 0 && (strings.Contains(r.stderr, "as the kernel counted them") || strings.Contains(r.stderr, "the kernel did not report every switch")) {
			t.Logf("%s: %s", tc.name, r.stderr) // a doubt of this machine, of which nothing can be asked
			continue
		}
		if r.code != tc.code {
			t.Errorf("%s: exit status %d, want %d; %s", tc.name, r.code, tc.code, r.stderr)
		}
		if tc.says != "" {
			checkOneLine(t, r.stderr, tc.says)
		}
	}
	got := parseReport(t, h.run(t, "run", "--json", "-c", here, "--", "taskset", "-c", there, "sh", "-c", loop).stdout)
	if len(got.Elsewhere) != 1 || got.Elsewhere[0].CPU != other || got.Elsewhere[0].Ran < time.Millisecond || !strings.Contains(strings.Join(got.Limits, "\n"), got.Elsewhere[0].String()) {
		t.Errorf("elsewhere %+v, limits %q", got.Elsewhere, got.Limits)
	}
}

// interrupted runs taskiso with its busy loop until that loops, and then interrupts it.
func (h host) interrupted(t *testing.T, args ...string) result {
	t.Helper()
	var r result
	untilFree(func() string {
		c := h.command(t, args...)
		var stdout, stderr bytes.Buffer
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		go func() { c.Wait(); close(exited) }()
		waitLoop(t, func() bool { return hasLoop(t, c.Process.Pid) }, exited)
		c.Process.Signal(os.Interrupt)
		<-exited
		r = result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
		return r.stderr
	})
	return r
}

func (h host) testTwoRunsOnOneCPU(t *testing.T) {
	cpu, _ := thisMachine(t).Online.Last()
	first := h.start(t, "run", "-q", "-c", strconv.Itoa(cpu), "--", "sh", "-c", "echo ready; read line")
	marker := filepath.Join(t.TempDir(), "ran")
	c := h.command(t, "run", "-c", strconv.Itoa(cpu), "--", "touch", marker)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	c.Run() // how it ended is in ProcessState
	if code := c.ProcessState.ExitCode(); code != 125 {
		t.Errorf("second run: exit status %d, want 125", code)
	}
	checkOneLine(t, stderr.String(), fmt.Sprintf("CPU %d: taskiso process %d is using it", cpu, first.Process.Pid))
	if _, err := os.Stat(marker); err == nil {
		t.Error("the second command ran all the same")
	}
	fmt.Fprintln(first.in)
	if code := first.end(t); code != 0 {
		t.Errorf("first run: exit status %d, want 0; %s", code, first.err)
	}
	if r := h.run(t, "run", "-q", "-c", strconv.Itoa(cpu), "--", "true"); r.code != 0 {
		t.Errorf("run after the first has ended: exit status %d; %s", r.code, r.stderr)
	}
}

// What is written follows the schema in docs.
func (h host) testJSON(t *testing.T) {
	needTracing(t)
	dir := t.TempDir()
	file, events := filepath.Join(dir, "report.json"), filepath.Join(dir, "events.ndjson")

	loop := h.run(t, "run", "-d", "1s", "--json", "--report", file, "--events", events)
	if loop.code != 0 {
		t.Fatalf("exit status %d; %s", loop.code, loop.stderr)
	}
	command := h.run(t, "run", "--json", "--", "true")
	if command.code != 0 {
		t.Fatalf("exit status %d; %s", command.code, command.stderr)
	}
	written, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, "", loop.stdout)
	checkSchema(t, "", command.stdout)
	if string(written) != loop.stdout {
		t.Error("--report and --json wrote different reports")
	}

	r := parseReport(t, loop.stdout)
	if !r.Tracing || len(r.CPUs) != 1 || len(r.Loop) != 1 {
		t.Fatalf("tracing %v, %d CPUs, %d loops; want one of each", r.Tracing, len(r.CPUs), len(r.Loop))
	}
	// Others may have had the CPU for most of the time.
	checkYields(t, r.Loop[0].YieldsEvery, r.Limits)
	if cpu := r.CPUs[0]; cpu.User <= 0 || cpu.User > r.Duration || r.Loop[0].Ran < 500*time.Millisecond {
		t.Errorf("of a loop that ran for 1 s: %v in user mode, by itself it ran for %v", cpu.User, r.Loop[0].Ran)
	}
	lines := linesOf(t, events)
	if uint64(len(lines)) != r.CPUs[0].Breaks {
		t.Errorf("%d breaks written, %d reported", len(lines), r.CPUs[0].Breaks)
	}
	for _, line := range lines {
		checkSchema(t, "#/$defs/break", line)
	}
	if r := parseReport(t, command.stdout); len(r.CPUs) != 1 || r.CPUs[0].Breaks == 0 || r.Task.Status == nil || *r.Task.Status != 0 {
		t.Errorf("of true: %+v, %d CPUs", r.Task, len(r.CPUs))
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left in the directory: %v, error %v", left, err)
	}
}

// The shell is offered the monitors by their names, and files.
func (h host) testCompletion(t *testing.T) {
	if r := h.run(t, "__complete", "explain", "tic"); r.code != 0 || !strings.Contains(r.stdout, "tick\t") {
		t.Errorf("explain: exit status %d, printed %q", r.code, r.stdout)
	}
	if r := h.run(t, "__complete", "run", "--"); r.code != 0 || strings.Contains(r.stdout, "`") || !strings.Contains(r.stdout, "--duration\tend after this TIME") {
		t.Errorf("run: exit status %d, printed %q", r.code, r.stdout)
	}
	r := h.run(t, "__complete", "watch", "--monitor", "")
	if want := "isolation\npoke3\nquiet_user\n:0\n"; r.code != 0 || r.stdout != want {
		t.Errorf("exit status %d, printed %q, want %q", r.code, r.stdout, want)
	}
}

// The script for bash works where the package bash-completion is not installed.
func (h host) testCompletionWithoutPackage(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(h.program, filepath.Join(dir, "taskiso")); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"taskiso explai":            "explain",
		"taskiso explain ipi-msr":   "ipi-msr",
		"taskiso partition veri":    "verify",
		"taskiso watch --monitor=q": "quiet_user",
	} {
		c := exec.Command(bash, "--norc", "--noprofile", "-c", `source <(taskiso completion bash)
line=$1; COMP_LINE=$line COMP_POINT=${#line} COMP_TYPE=9
read -ra COMP_WORDS <<<"${line//=/ = }"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
compopt() { :; }
__start_taskiso; printf '%s\n' "${COMPREPLY[@]}"`, "bash", words)
		c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		var stderr bytes.Buffer
		c.Stderr = &stderr
		out, err := c.Output()
		if err != nil || !strings.HasPrefix(string(out), want) || stderr.Len() > 0 {
			t.Errorf("%s: %v, %q and %q, want %s", words, err, out, &stderr, want)
		}
	}
}

func (h host) testMonitorNeedsCPUs(t *testing.T) {
	r := h.run(t, "watch", "-p", strconv.Itoa(os.Getpid()), "--monitor", "quiet_user")
	if r.code != 2 {
		t.Errorf("exit status %d, want 2", r.code)
	}
	checkOneLine(t, r.stderr, "--monitor checks CPUs")
}

// Before a command starts, a line states that its calls for isolation will not succeed;
// they get the kernel's own answer.
func (h host) testUnprivilegedIsolation(t *testing.T) {
	h, as := h.unprivileged(t)
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	caller := filepath.Join(filepath.Dir(h.program), "caller")
	if err := os.WriteFile(caller, self, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(caller)
	c := h.command(t, "run", "-q", "--", caller)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	c.Env = append(os.Environ(), prctlVariable+"=1")
	out, err := c.CombinedOutput()
	if err != nil || string(out) != "-1 invalid argument\n" {
		t.Errorf("quiet: %q, %v", out, err)
	}
	r := h.runAs(t, as, "run", "--", "sh", "-c", "echo started >&2")
	printed, started := strings.Index(r.stderr, "no thread can be isolated: prctl(48) is answered by the kernel"), strings.Index(r.stderr, "started")
	if printed < 0 || started < printed {
		t.Errorf("not printed before the command started:\n%s", r.stderr)
	}
	c = h.command(t, "run", "--", "true")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if as != nil { // as from docs/start.md: enough to observe, and no more
		c.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_SYSLOG}
	}
	out, err = c.CombinedOutput()
	want := "installing a seccomp filter: permission denied; run as root or with CAP_SYS_ADMIN"
	if bytes.Contains(out, []byte("kernel entries cannot be seen")) {
		want = "no thread can be isolated: prctl(48) is answered by the kernel: kernel entries cannot be seen"
	}
	if err != nil || !bytes.Contains(out, []byte(want)) {
		t.Errorf("error %v, want %q in\n%s", err, want, out)
	}
}

// Without privileges the command runs, and the report says what is missing.
func (h host) testUnprivileged(t *testing.T) {
	h, as := h.unprivileged(t)
	r := h.runAs(t, as, "run", "--", "sh", "-c", "exit 0")
	if r.code != 0 {
		t.Fatalf("exit status %d, want 0; %s", r.code, r.stderr)
	}
	for _, want := range []string{"kernel entries could not be seen", "CAP_BPF", "page faults", "context switches"} {
		if !strings.Contains(r.stderr, want) {
			t.Errorf("the report does not say %q:\n%s", want, r.stderr)
		}
	}
	// What privileges withhold is one line of doctor's, not one for each feature, and in no library's words.
	d := h.runAs(t, as, "doctor")
	if d.code != exitMissing || strings.Count(d.stdout, "privileges") != 1 || strings.Contains(d.stdout, "detect support") || strings.Contains(d.stdout, "not supported") {
		t.Errorf("doctor: exit status %d, printed %s", d.code, d.stdout)
	}
	w := h.runAs(t, as, "watch", "-q", "-d", "100ms", "-p", strconv.Itoa(os.Getpid()))
	if w.code != 125 {
		t.Errorf("watch: exit status %d, want 125: nothing was seen", w.code)
	}
	checkOneLine(t, w.stderr, "nothing was seen")
	// The next step of somebody who is not root is in the line.
	hold := h.runAs(t, as, "hold", "-c", "1")
	if hold.code != exitFailed {
		t.Errorf("hold: exit status %d, want %d", hold.code, exitFailed)
	}
	checkOneLine(t, hold.stderr, "hold is for root, run it with sudo")
	j := h.runAs(t, as, "run", "-d", "300ms", "--json")
	if j.code != 0 {
		t.Fatalf("exit status %d, want 0; %s", j.code, j.stderr)
	}
	checkSchema(t, "", j.stdout)
	got := parseReport(t, j.stdout)
	if got.Tracing || len(got.Limits) == 0 || got.Usage == nil || got.Usage.Task == nil || len(got.Loop) != 1 || got.Loop[0].Ran == 0 {
		t.Errorf("tracing %v, limits %q, usage %+v, loop %+v", got.Tracing, got.Limits, got.Usage, got.Loop)
	}
	if limits := strings.Join(got.Limits, "\n"); !strings.Contains(limits, "could not be reserved for all containers and users of this machine (making a BPF map: operation not permitted)") {
		t.Errorf("no limit about the claims of others:\n%s", limits)
	}
	if r := h.runAs(t, as, "run", "-q", "--", "sh", "-c", "exit 7"); r.code != 7 {
		t.Errorf("exit status %d, want 7", r.code)
	}
	q := h.runAs(t, as, "run", "-q", "--max-breaks", "5", "--", "true")
	if q.code != 125 {
		t.Errorf("exit status %d with --max-breaks, want 125: nobody knows", q.code)
	}
	checkOneLine(t, q.stderr, "cannot be judged")
	q = h.runAs(t, as, "run", "-q", "--monitor", "quiet_user", "--", "true")
	if q.code != 125 {
		t.Errorf("exit status %d with --monitor, want 125: nobody knows", q.code)
	}
	checkOneLine(t, q.stderr, "cannot be judged")
}

// unprivileged returns a program that anybody may execute, and who does.
func (h host) unprivileged(t *testing.T) (host, *syscall.Credential) {
	t.Helper()
	if os.Geteuid() != 0 {
		return h, nil
	}
	dir, err := os.MkdirTemp("", "taskiso-test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	text, err := os.ReadFile(h.program)
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "taskiso")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(program, text, 0o755)); err != nil {
		t.Fatal(err)
	}
	const nobody = 65534
	return host{program: program}, &syscall.Credential{Uid: nobody, Gid: nobody}
}

// Ctrl-C on a terminal goes to taskiso and the command alike.
func (h host) testInterruptCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	r := h.start(t, "run", "-q", "--report", file, "--", "sh", "-c", "echo ready; exec sleep 600")
	if err := unix.Kill(-r.Process.Pid, unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := r.end(t); code != 128+2 {
		t.Errorf("exit status %d, want %d; %s", code, 128+2, r.err)
	}
	if got := readReport(t, file); got.Task.Status == nil || *got.Task.Status != 128+2 {
		t.Errorf("task %+v, want exit status %d", got.Task, 128+2)
	}
}

func (h host) testInterruptLoop(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	var r running
	var looping func() bool
	for r.Cmd == nil {
		r = h.group(t, "run", "-q", "--report", file)
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		exited := make(chan struct{})
		looping = func() bool { return hasLoop(t, r.Process.Pid) }
		go func() { r.Wait(); close(exited) }()
		waitLoop(t, looping, exited)
		if looping() {
			if err := unix.Kill(-r.Process.Pid, unix.SIGINT); err != nil {
				t.Fatal(err)
			}
			<-exited
			break
		}
		if !strings.Contains(r.err.String(), claim.ErrInUse.Error()) {
			t.Fatalf("taskiso ended before it looped: %s", r.err)
		}
		r.Cmd = nil
		time.Sleep(100 * time.Millisecond)
	}
	if code := r.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit status %d, want 0; %s", code, r.err)
	}
	if err := unix.Kill(-r.Process.Pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("processes of its group are left: %v", err)
	}
	if got := readReport(t, file); got.Task.EndedBy != "interrupt" || len(got.Loop) != 1 || got.Loop[0].Ran == 0 {
		t.Errorf("task %+v, loop %+v", got.Task, got.Loop)
	}
}

// A busy loop that something ends, or keeps from its CPU until it is ended by force, cannot tell what it saw, but for one that
// could end in order. The report has everything else.
func (h host) testLoopThatCannotTell(t *testing.T) {
	for _, tc := range []struct {
		sig     unix.Signal
		code    int
		endedBy string
		state   string
		tells   bool
	}{
		{unix.SIGKILL, 125, "exit", "signal: killed", false},
		{unix.SIGTERM, 125, "exit", "exit status 0", true},
		{unix.SIGSTOP, 0, "interrupt", "signal: killed", false},
	} {
		file := filepath.Join(t.TempDir(), "report.json")
		c, loop, exited := h.startLoop(t, "run", "-q", "--report", file)
		if err := unix.Kill(loop, tc.sig); err != nil {
			t.Error(err)
		}
		if tc.sig == unix.SIGSTOP {
			c.Process.Signal(os.Interrupt)
		}
		<-exited
		if code := c.ProcessState.ExitCode(); code != tc.code {
			t.Errorf("%v: exit status %d, want %d; %s", tc.sig, code, tc.code, c.Stderr)
		}
		if tc.code != 0 {
			checkOneLine(t, c.Stderr.(*bytes.Buffer).String(), "the busy loop was ended: "+tc.state)
		}
		got := readReport(t, file)
		isLimit := strings.Contains(strings.Join(got.Limits, "\n"), "what the busy loop itself saw is not known ("+tc.state+")")
		if got.Task.EndedBy != tc.endedBy || got.Duration == 0 || (len(got.Loop) != 0) != tc.tells || isLimit == tc.tells {
			t.Errorf("%v: task %+v, %v, loop %+v, limits %q", tc.sig, got.Task, got.Duration, got.Loop, got.Limits)
		}
	}
}

// startLoop starts taskiso with its busy loop, and returns when that has spun for so long that it must have told so. Its outputs
// are buffers.
func (h host) startLoop(t *testing.T, args ...string) (c *exec.Cmd, loop int, exited <-chan struct{}) {
	t.Helper()
	for {
		c, stderr, done := h.command(t, args...), new(bytes.Buffer), make(chan struct{})
		c.Stdout, c.Stderr = new(bytes.Buffer), stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		go func() { c.Wait(); close(done) }()
		waitLoop(t, func() bool { return hasLoop(t, c.Process.Pid) }, done)
		if hasLoop(t, c.Process.Pid) {
			loop := waitForLoop(t, c.Process.Pid)
			eventually(t, "the loop spins", func() bool { return userTime(t, loop) > time.Second })
			return c, loop, done
		}
		if <-done; !strings.Contains(stderr.String(), claim.ErrInUse.Error()) {
			t.Fatalf("taskiso ended before it looped: %s", stderr)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func waitLoop(t *testing.T, looping func() bool, exited <-chan struct{}) {
	t.Helper()
	for deadline := time.Now().Add(runLimit); !looping(); time.Sleep(10 * time.Millisecond) {
		select {
		case <-exited:
			return
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("no loop was started")
		}
	}
}

// hasLoop reports whether a process has a busy loop as its child that is far
// enough to leave the terminal's signals to its parent.
func hasLoop(t *testing.T, parent int) bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		children, err := os.ReadFile(f)
		if err != nil {
			continue // the thread is gone
		}
		for _, pid := range strings.Fields(string(children)) {
			if text, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && strings.HasPrefix(string(text), loop.Name) {
				return ignores(pid, unix.SIGINT)
			}
		}
	}
	return false
}

func ignores(pid string, sig unix.Signal) bool {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return false // it has ended
	}
	for line := range strings.Lines(string(text)) {
		if mask, ok := strings.CutPrefix(line, "SigIgn:\t"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && set&(1<<(sig-1)) != 0
		}
	}
	return false
}

// A signal to taskiso alone is passed on, and the command decides.
func (h host) testTerminate(t *testing.T) {
	r := h.start(t, "run", "-q", "--", "sh", "-c", `trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.05; done`)
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	line, err := r.out.ReadString('\n')
	if err != nil || line != "got it\n" {
		t.Errorf("the command said %q, error %v", line, err)
	}
	if code := r.end(t); code != 9 {
		t.Errorf("exit status %d, want 9; %s", code, r.err)
	}
}

// The kernel objects that a run held while it ran are gone with it.
func (h host) testNothingIsLeftOver(t *testing.T) {
	needTracing(t)
	r := h.start(t, "run", "-q", "--", "sh", "-c", "echo ready; read line")
	programs, links := heldBy(t, r.Process.Pid, "prog_id"), heldBy(t, r.Process.Pid, "link_id")
	if len(programs) == 0 || len(links) == 0 {
		t.Fatalf("the run holds programs %v and links %v", programs, links)
	}
	for _, id := range programs {
		if !programExists(t, id) {
			t.Errorf("program %d does not exist while it runs", id)
		}
	}
	fmt.Fprintln(r.in)
	if code := r.end(t); code != 0 {
		t.Errorf("exit status %d; %s", code, r.err)
	}
	eventually(t, "programs and links of the run are gone", func() bool {
		for _, id := range programs {
			if programExists(t, id) {
				return false
			}
		}
		for _, id := range links {
			if l, err := link.NewFromID(link.ID(id)); err == nil {
				l.Close()
				return false
			}
		}
		return true
	})
}

// heldBy lists the kernel objects that a process has descriptors of.
func heldBy(t *testing.T, pid int, kind string) []uint32 {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint32
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // closed meanwhile
		}
		for line := range strings.Lines(string(text)) {
			var id uint32
			if n, _ := fmt.Sscanf(line, kind+":\t%d", &id); n == 1 {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

func programExists(t *testing.T, id uint32) bool {
	t.Helper()
	p, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	return true
}

func thisMachine(t *testing.T) topology.Machine {
	t.Helper()
	m, err := topology.ReadMachine(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	if m.Online.Len() < 2 {
		t.Skip("a CPU to observe and one to observe from are needed")
	}
	return m
}

// needTracing skips what only an observer can show. That root has one on a
// kernel that tests run on is asserted by package trace.
func needTracing(t *testing.T) {
	t.Helper()
	m := thisMachine(t)
	last, _ := m.Possible.Last()
	tracer, err := trace.Open(trace.Config{CPUs: m.Online, PossibleCPUs: last + 1, RingBytes: os.Getpagesize()})
	if errors.Is(err, os.ErrPermission) || errors.Is(err, ebpf.ErrNotSupported) {
		t.Skipf("kernel entries cannot be seen here: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

func parseReport(t *testing.T, text string) report.Report {
	t.Helper()
	var r report.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatalf("parsing %q: %v", text, err)
	}
	return r
}

func linesOf(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		lines = append(lines, line)
	}
	return lines
}

// checkSchema compares a text with a part of the schema in docs; "" is all of it.
func checkSchema(t *testing.T, part, text string) {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	schema, err := c.Compile("../../docs/report.schema.json" + part)
	if err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatalf("parsing %q: %v", text, err)
	}
	if err := schema.Validate(v); err != nil {
		t.Error(err)
	}
}
