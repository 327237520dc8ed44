// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/proc"
)

// orphanVariable makes this test binary start a command and end before it
// releases it.
const orphanVariable = "TASKISO_TEST_ORPHAN"

func TestMain(m *testing.M) {
	switch {
	case IsStub():
		os.Exit(Stub())
	case os.Getenv(orphanVariable) != "":
		startOrphan(os.Getenv(orphanVariable))
		return
	}
	m.Run()
}

func startOrphan(marker string) {
	p, err := Start(Command{Path: "/bin/sh", Args: []string{"sh", "-c", "touch " + marker}, Env: os.Environ()})
	if err != nil {
		panic(err)
	}
	fmt.Println(p.PID())
	os.Stdin.Read(make([]byte, 1)) // nobody writes: until it is killed
}

// shell is a command that runs a script with its output in a file.
func shell(t *testing.T, script string) (Command, *os.File) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return Command{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: os.Environ(), Stdout: out}, out
}

func output(t *testing.T, out *os.File) string {
	t.Helper()
	text, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// run runs a command to its end.
func run(t *testing.T, c Command) (*Process, *os.ProcessState) {
	t.Helper()
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	return p, p.Wait()
}

// gone reports whether a process has ended and was waited for.
func gone(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

func TestExitStatus(t *testing.T) {
	c, _ := shell(t, "exit 7")
	if p, state := run(t, c); state.ExitCode() != 7 || !gone(p.PID()) {
		t.Errorf("got %v, want exit status 7 and no process left", state)
	}
	c, _ = shell(t, "kill -TERM $$")
	_, state := run(t, c)
	if ws := state.Sys().(syscall.WaitStatus); !ws.Signaled() || ws.Signal() != syscall.SIGTERM {
		t.Errorf("got %v, want an end by SIGTERM", state)
	}
}

func TestArgumentsEnvironmentAndThread(t *testing.T) {
	c, out := shell(t, `echo "$0 $1 $SAMPLE $$"`)
	c.Args, c.Env = append(c.Args, "zero", "one two"), []string{"SAMPLE=from here"}
	p, _ := run(t, c)
	if want := fmt.Sprintf("zero one two from here %d", p.TID); output(t, out) != want {
		t.Errorf("got %q, want %q", output(t, out), want)
	}
	if p.TID != p.PID() {
		t.Errorf("thread %d becomes the command, not the process's first, %d", p.TID, p.PID())
	}
}

// A command has the descriptors that it would have without the launcher, and
// none of the launcher's.
func TestDescriptors(t *testing.T) {
	plain, err := exec.Command("/bin/sh", "-c", "ls /proc/self/fd").Output()
	if err != nil {
		t.Fatal(err)
	}
	c, out := shell(t, "ls /proc/self/fd")
	run(t, c)
	if want := strings.TrimSpace(string(plain)); output(t, out) != want {
		t.Errorf("descriptors %q, want %q", output(t, out), want)
	}
}

func TestNothingRunsBeforeRelease(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	c, _ := shell(t, "touch "+marker)
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	// The stub waits for the release in a read: once it sleeps there, it has
	// done all it does by itself.
	waitFor(t, "the stub to sleep", func() bool { return stateOf(p.PID()) == "S" })
	if _, err := os.Stat(marker); err == nil {
		t.Error("the command ran before it was released")
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	p.Wait()
	if _, err := os.Stat(marker); err != nil {
		t.Errorf("the command did not run: %v", err)
	}
}

// stateOf returns the state of a process as /proc has it, or "" without one.
func stateOf(pid int) string {
	stat, _ := proc.ReadStat(os.DirFS("/"), proc.Process(pid)) // no state without one
	return stat.State
}

func waitFor(t *testing.T, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !reached(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestKillBeforeRelease(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	c, _ := shell(t, "touch "+marker)
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
	if !gone(p.PID()) {
		t.Errorf("process %d is left", p.PID())
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("the command ran")
	}
}

// A stub whose caller was killed has nothing to wait for.
func TestCallerIsKilledBeforeRelease(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "ran")
	caller := exec.Command(os.Args[0])
	caller.Env = append(os.Environ(), orphanVariable+"="+marker)
	out, err := caller.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := caller.StdinPipe(); err != nil { // open until the end
		t.Fatal(err)
	}
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	_, scanErr := fmt.Fscanln(out, &pid)
	caller.Process.Kill()
	if scanErr != nil || pid == 0 {
		t.Fatalf("caller said %d: %v", pid, scanErr)
	}
	// The stub holds the pipe of standard output as well: its end is the stub's.
	ended := make(chan error, 1)
	go func() { _, err := io.ReadAll(out); ended <- err }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		unix.Kill(pid, unix.SIGKILL)
		t.Error("the stub goes on without its caller")
	}
	caller.Wait()
	if _, err := os.Stat(marker); err == nil {
		t.Error("the command ran")
	}
}

func TestExecErrors(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	garbage := filepath.Join(dir, "garbage")
	if err := errors.Join(os.WriteFile(plain, nil, 0o644), os.WriteFile(garbage, []byte("\x00\x01"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "none"): fs.ErrNotExist,
		plain:                      fs.ErrPermission,
		dir:                        fs.ErrPermission,
		garbage:                    unix.ENOEXEC,
	} {
		p, err := Start(Command{Path: path, Args: []string{"it"}})
		if err != nil {
			t.Fatal(err)
		}
		err = p.Release()
		var failed *ExecError
		if !errors.As(err, &failed) || !errors.Is(err, want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got error %v, want an ExecError with %v", path, err, want)
		}
		if !gone(p.PID()) {
			t.Errorf("%s: process %d is left", path, p.PID())
		}
	}
}

func allowed(t *testing.T) cpulist.Set {
	t.Helper()
	cpus, err := affinity.Of(0)
	if err != nil {
		t.Fatal(err)
	}
	return cpus
}

func mustNew(t *testing.T, cpus ...int) cpulist.Set {
	t.Helper()
	set, err := cpulist.New(cpus...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// The command runs where it was asked to run; this process goes on where it did.
func TestAffinity(t *testing.T) {
	before := allowed(t)
	for _, cpu := range []int{before.Slice()[0], before.Slice()[before.Len()-1]} {
		c, out := shell(t, "grep Cpus_allowed_list /proc/self/status | cut -f2")
		c.CPUs = mustNew(t, cpu)
		run(t, c)
		if got := output(t, out); got != strconv.Itoa(cpu) {
			t.Errorf("command runs on CPU %s, want %d", got, cpu)
		}
	}
	c, out := shell(t, "grep Cpus_allowed_list /proc/self/status | cut -f2")
	run(t, c)
	if got := output(t, out); got != before.String() {
		t.Errorf("command without CPUs runs on %s, want %v", got, before)
	}
	if after := allowed(t); after.String() != before.String() {
		t.Errorf("the test runs on %v, before on %v", after, before)
	}
}

func TestCPUThatIsNotThere(t *testing.T) {
	c, _ := shell(t, "true")
	c.CPUs = mustNew(t, cpulist.MaxCPU)
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	var failed *ExecError
	if err := p.Release(); !errors.As(err, &failed) || failed.Errno != unix.EINVAL || !strings.Contains(failed.Step, c.CPUs.String()) {
		t.Errorf("got error %v, want EINVAL and the CPU", err)
	}
}

func TestSetAffinityRefusesNoCPUs(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := affinity.Set(0, cpulist.Set{}); !errors.Is(err, unix.EINVAL) {
		t.Errorf("got error %v, want EINVAL", err)
	}
}

func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("taking on another user needs root")
	}
	c, out := shell(t, "id -u; id -g; id -G")
	c.User = &User{UID: 65534, GID: 65533, Groups: []uint32{65533, 4242}}
	run(t, c)
	if got := strings.Fields(output(t, out)); !slices.Equal(got, []string{"65534", "65533", "65533", "4242"}) {
		t.Errorf("got ids %q", got)
	}
}

// Without privileges the command does not run as somebody else, and it does not
// run at all.
func TestUserWithoutPrivileges(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may take on any user")
	}
	c, out := shell(t, "echo ran")
	c.User = &User{UID: 0, GID: 0}
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	var failed *ExecError
	if err := p.Release(); !errors.As(err, &failed) || failed.Errno != unix.EPERM {
		t.Errorf("got error %v, want EPERM", err)
	}
	if got := output(t, out); got != "" {
		t.Errorf("the command ran: %q", got)
	}
}

func TestSignal(t *testing.T) {
	c, out := shell(t, `trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.01; done`)
	p, err := Start(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the command to be ready", func() bool { return output(t, out) == "ready" })
	if err := p.Signal(syscall.SIGUSR1); err != nil {
		t.Error(err)
	}
	if state := p.Wait(); state.ExitCode() != 3 || !strings.HasSuffix(output(t, out), "caught") {
		t.Errorf("got %v after %q", state, output(t, out))
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	for name, want := range map[string]error{
		"sh": nil, "/bin/sh": nil, "no-such-program": fs.ErrNotExist, "/no/such/program": fs.ErrNotExist,
		"": fs.ErrNotExist, plain: fs.ErrPermission, dir: unix.EISDIR,
	} {
		path, err := Find(name)
		if want == nil && (err != nil || !filepath.IsAbs(path)) || !errors.Is(err, want) {
			t.Errorf("%q: got %q, error %v, want %v", name, path, err, want)
		}
	}
}

// What the launcher used up is told apart from what the command does.
func TestUsedBeforeExec(t *testing.T) {
	p, err := Start(Command{Path: "/bin/true", Args: []string{"true"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	all := p.Wait().SysUsage().(*syscall.Rusage)
	faults, switches := all.Minflt-p.Used.Minflt, all.Nvcsw-p.Used.Nvcsw
	// Measured: 500 faults and 20 switches of the launcher, 53 and 2 of the command; execve() waits for the other threads of
	// the launcher, on a busy machine up to some 20 times.
	if p.Used.Minflt < 200 || faults <= 0 || faults > 150 || switches < 0 || switches > 50 {
		t.Errorf("%d faults before and %d after execve(), %d and %d switches", p.Used.Minflt, faults, p.Used.Nvcsw, switches)
	}
}
