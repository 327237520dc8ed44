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

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

// The tests of `taskiso run` on the machine at hand. They change nothing there;
// what needs other machines is in guest_test.go.
func TestRun(t *testing.T) {
	before := affinities(t)
	h := host{program: buildProgram(t)}
	for name, test := range map[string]func(*testing.T){
		"ExitStatus":        h.testExitStatus,
		"BadInput":          h.testBadInput,
		"StreamsAndUser":    h.testStreamsAndUser,
		"Duration":          h.testDuration,
		"LoopDoesNotFault":  h.testLoopDoesNotFault,
		"MaxBreaks":         h.testMaxBreaks,
		"TwoRunsOnOneCPU":   h.testTwoRunsOnOneCPU,
		"JSON":              h.testJSON,
		"Unprivileged":      h.testUnprivileged,
		"NotIsolable":       h.testUnprivilegedIsolation,
		"Completion":        h.testCompletion,
		"MonitorNeedsCPUs":  h.testMonitorNeedsCPUs,
		"InterruptCommand":  h.testInterruptCommand,
		"InterruptLoop":     h.testInterruptLoop,
		"Terminate":         h.testTerminate,
		"NothingIsLeftOver": h.testNothingIsLeftOver,
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
	set, err := affinity(os.Getpid())
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
	for deadline := time.Now().Add(runLimit); ; time.Sleep(100 * time.Millisecond) {
		c := h.command(t, args...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: as}
		c.Dir = "/"
		var stdout, stderr bytes.Buffer
		c.Stdout, c.Stderr = &stdout, &stderr
		if err := c.Run(); err != nil && c.ProcessState == nil {
			t.Fatalf("running taskiso %q: %v", args, err)
		}
		r := result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
		if !strings.Contains(r.stderr, errCPUInUse.Error()) || time.Now().After(deadline) {
			return r
		}
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
		if !strings.Contains(r.err.String(), errCPUInUse.Error()) || time.Now().After(deadline) {
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
	last, _ := m.possible.Last()
	unknown, all := strconv.Itoa(last+1), m.online.String()
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
		{"empty list", []string{"-c", ""}, 2, "no CPU"},
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
		{"command without --", []string{"run", "true"}, "write -- before the command"},
		{"argument before --", []string{"run", "true", "--", "true"}, "write -- before the command"},
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

func (h host) testTwoRunsOnOneCPU(t *testing.T) {
	cpu, _ := thisMachine(t).online.Last()
	first := h.start(t, "run", "-q", "-c", strconv.Itoa(cpu), "--", "sh", "-c", "echo ready; read line")
	marker := filepath.Join(t.TempDir(), "ran")
	c := h.command(t, "run", "-c", strconv.Itoa(cpu), "--", "touch", marker)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	c.Run() // how it ended is in ProcessState
	if code := c.ProcessState.ExitCode(); code != 125 {
		t.Errorf("second run: exit status %d, want 125", code)
	}
	checkOneLine(t, stderr.String(), fmt.Sprintf("CPU %d: another taskiso run is using it", cpu))
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
	r := h.run(t, "__complete", "watch", "--monitor", "")
	if want := "isolation\npoke3\nquiet_user\n:0\n"; r.code != 0 || r.stdout != want {
		t.Errorf("exit status %d, printed %q, want %q", r.code, r.stdout, want)
	}
}

func (h host) testMonitorNeedsCPUs(t *testing.T) {
	r := h.run(t, "watch", "-p", strconv.Itoa(os.Getpid()), "--monitor", "quiet_user")
	if r.code != 2 {
		t.Errorf("exit status %d, want 2", r.code)
	}
	checkOneLine(t, r.stderr, "--monitor checks CPUs")
}

// Before a command starts it is told that nobody will answer its calls for
// isolation; they get the kernel's own answer.
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
	said, started := strings.Index(r.stderr, "no thread can be isolated: prctl(48) is answered by the kernel"), strings.Index(r.stderr, "started")
	if said < 0 || started < said {
		t.Errorf("not said before the command started:\n%s", r.stderr)
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
	j := h.runAs(t, as, "run", "-d", "300ms", "--json")
	if j.code != 0 {
		t.Fatalf("exit status %d, want 0; %s", j.code, j.stderr)
	}
	checkSchema(t, "", j.stdout)
	got := parseReport(t, j.stdout)
	if got.Tracing || len(got.Limits) == 0 || got.Usage == nil || got.Usage.Task == nil || len(got.Loop) != 1 || got.Loop[0].Ran == 0 {
		t.Errorf("tracing %v, limits %q, usage %+v, loop %+v", got.Tracing, got.Limits, got.Usage, got.Loop)
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
		if !strings.Contains(r.err.String(), errCPUInUse.Error()) {
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

// hasLoop tells whether a process has a busy loop as its child that is far
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
			if text, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && strings.HasPrefix(string(text), loopName) {
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

func thisMachine(t *testing.T) machine {
	t.Helper()
	m, err := readMachine(os.DirFS("/"))
	if err != nil {
		t.Fatal(err)
	}
	if m.online.Len() < 2 {
		t.Skip("a CPU to observe and one to observe from are needed")
	}
	return m
}

// needTracing skips what only an observer can show. That root has one on a
// kernel that tests run on is asserted by package trace.
func needTracing(t *testing.T) {
	t.Helper()
	m := thisMachine(t)
	last, _ := m.possible.Last()
	tracer, err := trace.Open(trace.Config{CPUs: m.online, PossibleCPUs: last + 1, RingBytes: os.Getpagesize()})
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
