// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package seccomp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/abi"
)

// callerVariable makes the test binary a program whose calls are answered.
const callerVariable = "TASKISO_TEST_CALLER"

func TestMain(m *testing.M) {
	if os.Getenv(callerVariable) != "" {
		if err := beCaller(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beCaller installs the filter, says where the listener is, waits for a line, and
// then says what each of its calls returned.
func beCaller() error {
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil { // for a test that is not root
		return err
	}
	fd, err := Install()
	if err != nil {
		return err
	}
	fmt.Println(fd)
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	unix.Close(fd)
	if os.Getenv(callerVariable) == modeFiles {
		return askForFiles()
	}
	for _, args := range callerCalls {
		r, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, args[0], args[1], args[2], args[3], args[4], 0)
		if errno == 0 && args[1] == 3 { // a descriptor
			var st unix.Stat_t
			err := unix.Fstat(int(r), &st)
			flags, _ := unix.FcntlInt(r, unix.F_GETFD, 0)
			fmt.Println("file", st.Ino, err, flags&unix.FD_CLOEXEC)
			continue
		}
		fmt.Println(int64(r), int(errno))
	}
	if _, err := in.ReadString('\n'); err != nil { // the listener is gone
		return err
	}
	_, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, abi.SetTaskIsolation, 1, 0, 0, 0, 0)
	fmt.Println(int(errno))
	return nil
}

// What a caller does, and how many files it asks for.
const (
	modeCalls = "calls"
	modeFiles = "files"
	files     = 2000
)

// askForFiles says how many files it got.
func askForFiles() error {
	got := 0
	for range files {
		fd, _, errno := unix.RawSyscall6(unix.SYS_PRCTL, abi.SetTaskIsolation, 3, 0, 0, 0, 0)
		if errno == 0 && fd != 0 {
			got++
			unix.Close(int(fd))
		}
	}
	fmt.Println(got, "files")
	return nil
}

var callerCalls = [][5]uintptr{
	{abi.SetTaskIsolation, 1, 2, 3, 4},
	{abi.SetTaskIsolation, 2},
	{abi.GetTaskIsolation, 1},
	{abi.SetTaskIsolation, 3},
	{47, 99},                          // PR_CAP_AMBIENT with a bad argument: the kernel's own answer
	{abi.SetTaskIsolation | 1<<32, 1}, // the option is an int
}

// caller is a process whose calls are answered.
type caller struct {
	stdin io.Writer
	lines *bufio.Scanner
}

// startCaller starts one, which waits for a line before it calls.
func startCaller(t *testing.T, mode string) (caller, *Listener) {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	// A signal that preempts a goroutine restarts the call that waits, as another call.
	c.Env = append(os.Environ(), callerVariable+"="+mode, "GODEBUG=asyncpreemptoff=1")
	c.Stderr = os.Stderr
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	lines := bufio.NewScanner(stdout)
	var theirs int
	if lines.Scan(); lines.Err() != nil || !scan(lines.Text(), &theirs) {
		t.Fatalf("the caller says %q", lines.Text())
	}
	return caller{stdin, lines}, take(t, c.Process.Pid, theirs)
}

func TestCallsAreAnswered(t *testing.T) {
	c, l := startCaller(t, modeCalls)
	var served sync.WaitGroup
	var seen []Call
	served.Go(func() { seen = serve(t, l) })
	fmt.Fprintln(c.stdin, "go")
	var st unix.Stat_t
	if err := unix.Stat("/proc/self/exe", &st); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"0 0", "-1 11", "4711 0", fmt.Sprintf("file %d <nil> 1", st.Ino), "-1 22", "0 0"} {
		if c.lines.Scan(); c.lines.Text() != want {
			t.Errorf("call %d: %q, want %q", i, c.lines.Text(), want)
		}
	}
	l.Stop()
	served.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if len(seen) != 5 || seen[0].Option != abi.SetTaskIsolation || seen[0].Args != [4]uint64{1, 2, 3, 4} || seen[2].Option != abi.GetTaskIsolation {
		t.Errorf("calls: %+v", seen)
	}
	if _, err := l.Next(); err == nil {
		t.Error("a closed listener has a call")
	}
	fmt.Fprintln(c.stdin, "go")
	if c.lines.Scan(); c.lines.Text() != fmt.Sprint(int(syscall.ENOSYS)) {
		t.Errorf("without a listener: %q, want ENOSYS", c.lines.Text())
	}
}

// Files arrive whatever signals the thread gets that passes them.
func TestSignalsDoNotLoseFiles(t *testing.T) {
	c, l := startCaller(t, modeFiles)
	var served sync.WaitGroup
	thread := make(chan int, 1)
	served.Go(func() {
		runtime.LockOSThread()
		thread <- unix.Gettid()
		serve(t, l)
	})
	tid, done := <-thread, make(chan struct{})
	served.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				unix.Tgkill(os.Getpid(), tid, unix.SIGURG) // the one by which Go's runtime preempts
			}
		}
	})
	fmt.Fprintln(c.stdin, "go")
	if c.lines.Scan(); c.lines.Text() != fmt.Sprint(files, " files") {
		t.Errorf("the caller has %q, want %d files", c.lines.Text(), files)
	}
	close(done)
	l.Stop()
	served.Wait()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// Only the end of all callers, or Stop, ends the wait for calls.
func TestFound(t *testing.T) {
	for _, tc := range []struct {
		listener, stop int16
		want           finding
	}{
		{0, 0, nothing},
		{unix.POLLERR, 0, nothing}, // a signal came
		{unix.POLLIN, 0, call},
		{unix.POLLIN | unix.POLLHUP, 0, call},
		{unix.POLLHUP, 0, over},
		{unix.POLLNVAL, 0, over},
		{unix.POLLIN, unix.POLLHUP, over},
		{0, unix.POLLHUP, over},
		{unix.POLLERR, unix.POLLHUP, over},
	} {
		if got := found(tc.listener, tc.stop); got != tc.want {
			t.Errorf("listener %#x, stop %#x: %d, want %d", tc.listener, tc.stop, got, tc.want)
		}
	}
}

func scan(text string, n *int) bool {
	_, err := fmt.Sscan(strings.TrimSpace(text), n)
	return err == nil
}

func take(t *testing.T, pid, theirs int) *Listener {
	t.Helper()
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, theirs, 0)
	if err != nil {
		t.Fatal(err)
	}
	l, err := Listen(fd)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serve answers until the listener is stopped, by the second argument.
func serve(t *testing.T, l *Listener) []Call {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Error(err)
	}
	defer self.Close()
	var seen []Call
	for {
		c, err := l.Next()
		if errors.Is(err, os.ErrClosed) {
			return seen
		}
		if err != nil {
			t.Error(err)
			return seen
		}
		seen = append(seen, c)
		if !l.Waits(c) {
			t.Errorf("call %+v does not wait", c)
		}
		switch {
		case c.Option == abi.GetTaskIsolation:
			err = l.Answer(c, 4711, 0)
		case c.Args[0] == 2:
			err = l.Answer(c, 0, unix.EAGAIN)
		case c.Args[0] == 3:
			err = l.AnswerFile(c, int(self.Fd()))
		default:
			err = l.Answer(c, 0, 0)
		}
		if err != nil {
			t.Error(err)
		}
		// EINPROGRESS until the caller has taken the answer.
		if err := l.Answer(c, 0, 0); !errors.Is(err, ErrGone) && !errors.Is(err, unix.EINPROGRESS) {
			t.Errorf("call %+v is answered twice: %v", c, err)
		}
	}
}
