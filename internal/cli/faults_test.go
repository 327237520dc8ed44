// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/faults"
	"github.com/taskiso/taskiso/pagefault"
)

// faulty makes as many page faults as its argument says in a function of its
// own, after some others and a mark.
const faulty = `#define _GNU_SOURCE
#include <taskiso/pagefault.h>
#include <signal.h>

__attribute__((noinline)) static void touch_pages(char *m, long n)
{
	for (long i = 0; i < n; i++)
		*(volatile char *)(m + i * 4096) = 1; /* line 8 */
}

static char *map(long n)
{
	char *m = mmap(NULL, n * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(m, n * 4096, MADV_NOHUGEPAGE);
	return m;
}

static volatile int signals;
static void on_signal(int sig) { signals += sig == SIGUSR2; }

static void *(*volatile fill)(void *, int, size_t) = memset; /* of libc, whose names take long to read */

/* How many of five faults are signalled while there is time for it. */
static int signalled(char *m)
{
	struct timespec pause;
	signal(SIGUSR2, on_signal);
	for (int i = 0; i < 5; i++) {
		fill(m + i * 4096, 1, 2000);
		pause = (struct timespec){.tv_nsec = 100000000};
		while (nanosleep(&pause, &pause) < 0)
			;
	}
	return signals;
}

int main(int argc, char **argv)
{
	long n = atol(argv[1]);
	if (argc > 3)
		sleep(atoi(argv[3]));
	char *m = map(n + 1);
	touch_pages(map(7), 7);
	char some[2000];
	fill(some, 1, sizeof(some)); /* now its page of libc is there */
	taskiso_pagefault_mark_none();
	if (argc > 4)
		return signalled(m);
	touch_pages(m, n);
	taskiso_pagefault_mark_some();
	touch_pages(map(9), 9);
	if (argc > 2)
		sleep(atoi(argv[2]));
	return 0;
}
`

func buildFaulty(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "faulty.c")
	if err := os.WriteFile(source, []byte(faulty), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "faulty")
	gcc := exec.Command("gcc", "-g", "-O1", "-fno-omit-frame-pointer", "-Wno-unused-function", "-I../../include", "-o", program, source)
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", gcc, err, out)
	}
	return program
}

// faultsTest is what the tests of taskiso faults share, as both take seconds to build.
type faultsTest struct{ taskiso, faulty string }

func TestFaults(t *testing.T) {
	f := faultsTest{buildProgram(t), buildFaulty(t)}
	t.Run("command", f.command)
	t.Run("marked", f.marked)
	t.Run("after warm-up", f.afterWarmUp)
	t.Run("signal", f.signal)
	t.Run("process", f.process)
	t.Run("terminal", f.terminal)
	t.Run("profile", f.profile)
	t.Run("usage", f.usage)
}

type faultsResult struct {
	report faults.Report
	code   int
	stderr string
}

func (f faultsTest) run(t *testing.T, args ...string) faultsResult {
	t.Helper()
	c := exec.CommandContext(t.Context(), f.taskiso, append([]string{"faults", "--json"}, args...)...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	r := faultsResult{code: c.ProcessState.ExitCode(), stderr: stderr.String()}
	if stdout.Len() > 0 {
		if err := json.Unmarshal(stdout.Bytes(), &r.report); err != nil {
			t.Fatalf("%v\n%s%s", err, stdout.String(), stderr.String())
		}
	}
	return r
}

// at returns the faults of a function.
func (r faultsResult) at(function string) (sum faults.Sum, line int) {
	for _, l := range r.report.Locations {
		if l.Function == function {
			sum.Minor += l.Minor
			sum.Major += l.Major
			line = l.Line
		}
	}
	return sum, line
}

func (f faultsTest) command(t *testing.T) {
	r := f.run(t, "--", f.faulty, "300")
	sum, line := r.at("touch_pages")
	if sum.Minor != 300+7+9 || sum.Major != 0 || line != 8 || r.code != 0 {
		t.Errorf("%+v in line %d, status %d; want 316 minor in line 8\n%s", sum, line, r.code, r.stderr)
	}
	if r.report.Lost > 0 || r.report.Time <= 0 || r.report.Usage == nil || r.report.Usage.Minor < 316 {
		t.Errorf("%+v", r.report)
	}
	for _, m := range r.report.Mappings {
		if m.Kind == pagefault.Anonymous && m.Name == "" && m.Minor < 316 {
			t.Errorf("%+v", m)
		}
	}
}

func (f faultsTest) marked(t *testing.T) {
	program := f.faulty
	r := f.run(t, "--marked", "--fail-on-fault", "--", program, "25")
	if r.report.Minor != 25 || r.code != exitTooManyBreaks || r.report.Unmarked < 16 || !strings.Contains(r.stderr, "page faults: 25, lost: 0") {
		t.Errorf("status %d, %+v\n%s", r.code, r.report, r.stderr)
	}
	r = f.run(t, "--marked", "--fail-on-fault", "--", program, "0")
	if r.report.Minor+r.report.Major != 0 || r.code != 0 {
		t.Errorf("status %d, %+v\n%s", r.code, r.report, r.stderr)
	}
}

func (f faultsTest) afterWarmUp(t *testing.T) {
	r := f.run(t, "--warm-up", "60", "--fail-on-fault", "--", f.faulty, "25")
	if r.report.Minor+r.report.Major != 0 || r.report.Before < 41 || r.code != 0 {
		t.Errorf("status %d, %+v", r.code, r.report)
	}
}

func (f faultsTest) signal(t *testing.T) {
	r := f.run(t, "--marked", "--signal", "KILL", "--", f.faulty, "25", "60")
	if r.code != exitSignal+9 {
		t.Errorf("status %d\n%s", r.code, r.stderr)
	}
	// In time also while names are looked for, which for libc takes long.
	for _, list := range []string{"--quiet", "--verbose"} {
		if r := f.run(t, "--marked", list, "--signal", "USR2", "--", f.faulty, "5", "0", "0", "signals"); r.code != 5 {
			t.Errorf("%s: %d signals\n%s", list, r.code, r.stderr)
		}
	}
}

func (f faultsTest) process(t *testing.T) {
	c := exec.Command(f.faulty, "100", "60", "2")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer c.Wait()
	defer c.Process.Kill()
	r := f.run(t, "-p", strconv.Itoa(c.Process.Pid), "-d", "4")
	sum, _ := r.at("touch_pages")
	if r.code != 0 || sum.Minor != 116 || len(r.report.Threads) != 1 || r.report.Threads[0].Name != "faulty" {
		t.Errorf("status %d, %+v\n%s", r.code, r.report, r.stderr)
	}
	if r.report.Duration < 4*time.Second || r.report.Duration > 30*time.Second {
		t.Errorf("lasted %v", r.report.Duration)
	}
}

// On a terminal there is a line that tells how it goes.
func (f faultsTest) terminal(t *testing.T) {
	master, slave := openTerminal(t)
	program := exec.Command(f.faulty, "100", "60", "0")
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	defer program.Wait()
	defer program.Process.Kill()
	c := exec.Command(f.taskiso, "faults", "-p", strconv.Itoa(program.Process.Pid), "-d", "2")
	c.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	c.Stderr = slave
	if err := c.Run(); err != nil {
		t.Fatal(err)
	}
	slave.Close()
	shown, err := io.ReadAll(master)
	if err != nil && !errors.Is(err, unix.EIO) { // which is how a terminal ends that nobody has open
		t.Fatal(err)
	}
	live, last, found := strings.Cut(string(shown), "\r\x1b[K\r\n")
	if !found || !strings.Contains(live, " s of 2 s: ") || !strings.Contains(live, "minor and 0 major page faults") || strings.Contains(last, "\x1b") {
		t.Errorf("%q", shown)
	}
}

// openTerminal returns the two ends of a terminal (pts(4)).
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { master.Close() })
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// The profile is read by the tool it is for.
func (f faultsTest) profile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faults.pb.gz")
	r := f.run(t, "--pprof", file, "--", f.faulty, "500")
	if r.code != 0 {
		t.Fatal(r.stderr)
	}
	out, err := exec.Command("go", "tool", "pprof", "-sample_index=faults", "-top", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "516") || !strings.Contains(string(out), "touch_pages") {
		t.Errorf("%v\n%s", err, out)
	}
	if want := "File: " + filepath.Base(f.faulty) + "\n"; !strings.Contains(string(out), want) {
		t.Errorf("no %q in %s", want, out)
	}
	out, err = exec.Command("go", "tool", "pprof", "-sample_index=faults", "-peek", "touch_pages", file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "main") {
		t.Errorf("callers: %v\n%s", err, out)
	}
}

func (f faultsTest) usage(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"", exitUsage, "one of -p PID"},
		{"-p 1 -t 1", exitUsage, "one of -p PID"},
		{"-p 0", exitUsage, "not the number of a process"},
		{"-p 4194304", exitUsage, "no such process"},
		{"-t 4194304", exitUsage, "no such process or thread"},
		{"-p 1 --signal FOO", exitUsage, "is not a signal"},
		{"-p 1 -d 0", exitUsage, "duration of 0"},
		{"-p 1 -q -v", exitUsage, "exclude"},
		{"--", exitUsage, "no command after --"},
		{"-- /no/such/program", exitNotFound, "/no/such/program"},
		{"-- /etc/passwd", exitNotExecutable, "/etc/passwd"},
		{"--pprof /no/such/dir/x -- true", exitFailed, "/no/such/dir"},
		{"-- sh -c 'exit 9'", 9, ""},
	} {
		args := strings.Fields(tc.args)
		if strings.HasSuffix(tc.args, "'") {
			args = []string{"--", "sh", "-c", "exit 9"}
		}
		r := f.run(t, args...)
		if r.code != tc.code || !strings.Contains(r.stderr, tc.want) {
			t.Errorf("%q: status %d, want %d; %s", tc.args, r.code, tc.code, r.stderr)
		}
	}
}

func TestFaultsFailed(t *testing.T) {
	var s *status
	if err := faultsFailed(pagefault.ErrNoTarget); !errors.As(err, &s) || s.code != exitUsage {
		t.Error(err)
	}
	if err := faultsFailed(pagefault.ErrNotPermitted); errors.As(err, &s) && s.code == exitUsage {
		t.Error("a lack of permission is not a wrong command line")
	}
}
