// SPDX-License-Identifier: Apache-2.0

// Package launch starts a command that waits before its first instruction
// until its observer is ready.
//
// The command is started in two steps. A copy of this program (the stub) starts
// on the housekeeping CPUs, says which thread will become the command, and
// waits. Once it is released, it moves to the CPUs the command is to run on,
// takes on the user, and executes the command.
package launch

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/proc"
)

// Command is what to run and as whom.
type Command struct {
	Path string   // of the program, as Find returns it
	Args []string // Args[0] is the program's name
	Env  []string
	CPUs cpulist.Set // where it runs; empty: where the caller runs
	User *User       // nil: the caller's
	// Cgroup is the directory, in cgroupfs, of the cgroup it runs in; empty: the
	// caller's.
	Cgroup string
	// IgnoreInterrupt lets SIGINT, which a terminal sends to the caller as
	// well, be ignored from the start.
	IgnoreInterrupt bool

	// Isolable lets the command's calls of prctl for task isolation be answered
	// by whoever called Process.Listen, which is to come before Release.
	Isolable bool

	Stdout *os.File   `json:"-"` // nil: the caller's
	Files  []*os.File `json:"-"` // its descriptors from FirstFile on
}

// User is the identity a command runs under.
type User struct {
	UID, GID uint32
	Groups   []uint32
}

// Process is a started command.
type Process struct {
	TID int // thread that will become, or has become, the command
	// Used is what the process had used up when it executed the command, once Release has returned.
	Used    syscall.Rusage
	stub    *exec.Cmd
	release *os.File
	report  *bufio.Reader
}

// stubName is the name under which this program knows that it is the stub.
const stubName = "taskiso:launch"

// Descriptors of the stub beside the standard ones.
const (
	orderFD  = 3 // reads the Command and then the release
	reportFD = 4 // writes stubReports
)

// FirstFile is the first descriptor of a command's Files.
const FirstFile = 5

// stubReport is what the stub says: first its thread, then of an Isolable command
// its listener, or why there is none, then what it has used up, and then, if it could
// not execute the command, why.
type stubReport struct {
	TID      int
	Listener int // a descriptor of the stub
	Used     *syscall.Rusage
	Step     string
	Errno    syscall.Errno
}

// ExecError says why a command did not start.
type ExecError struct {
	Step  string // what was attempted
	Errno syscall.Errno
}

func (e *ExecError) Error() string { return fmt.Sprintf("%s: %v", e.Step, e.Errno) }
func (e *ExecError) Unwrap() error { return e.Errno }

// errReport means that the stub ended without a word.
var errReport = errors.New("the launcher ended before it could report why")

// Find returns the path of a program: of name itself if it has a slash, else of
// the first of that name in $PATH. Its errors match [fs.ErrNotExist] or
// [fs.ErrPermission].
func Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("not in $PATH: %w", fs.ErrNotExist)
	case err != nil:
		var lookup *exec.Error
		if errors.As(err, &lookup) {
			err = lookup.Err
		}
		return "", err
	}
	return path, nil
}

// Start starts the stub with the standard streams of this process. The
// command does not run before Release.
func Start(c Command) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding the launcher: %w", err)
	}
	orderRead, orderWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("creating a pipe to the launcher: %w", err)
	}
	defer orderRead.Close()
	reportRead, reportWrite, err := os.Pipe()
	if err != nil {
		orderWrite.Close()
		return nil, fmt.Errorf("creating a pipe from the launcher: %w", err)
	}
	defer reportWrite.Close()

	stub := exec.Command(self)
	stub.Args = []string{stubName}
	stub.Stdin, stub.Stdout, stub.Stderr = os.Stdin, os.Stdout, os.Stderr
	if c.Stdout != nil {
		stub.Stdout = c.Stdout
	}
	stub.ExtraFiles = append([]*os.File{orderRead, reportWrite}, c.Files...) // orderFD, reportFD, FirstFile
	if err := stub.Start(); err != nil {
		orderWrite.Close()
		reportRead.Close()
		return nil, fmt.Errorf("starting the launcher: %w", err)
	}
	p := &Process{stub: stub, release: orderWrite, report: bufio.NewReader(reportRead)}
	reportWrite.Close()
	if err := json.NewEncoder(orderWrite).Encode(c); err != nil {
		return nil, errors.Join(fmt.Errorf("instructing the launcher: %w", err), p.Kill())
	}
	r, err := p.next()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("waiting for the launcher: %w", err), p.Kill())
	}
	p.TID = r.TID
	return p, nil
}

// Release lets the command run and returns once it does. The error is an
// [*ExecError] if it could not be executed.
func (p *Process) Release() error {
	if _, err := p.release.Write([]byte("go\n")); err != nil {
		return fmt.Errorf("releasing the command: %w", err)
	}
	p.release.Close()
	r, err := p.next()
	if err == nil && r.Used != nil {
		p.Used = *r.Used
		r, err = p.next()
	}
	switch {
	case errors.Is(err, io.EOF): // the descriptor was closed by a successful exec
		return nil
	case err != nil:
		return fmt.Errorf("starting the command: %w", err)
	}
	p.Wait() // its exit status says nothing that r does not
	return &ExecError{r.Step, r.Errno}
}

// Listen lets an Isolable command come as far as to its own execution, and returns
// the descriptor at which its calls of prctl will arrive, the caller's now. If
// there is none, because the privileges are missing, the command can be released
// all the same. Release is to follow.
func (p *Process) Listen() (listener int, err error) {
	if _, err := p.release.Write([]byte("go\n")); err != nil {
		return -1, fmt.Errorf("preparing the command for task isolation: %w", err)
	}
	r, err := p.next()
	switch {
	case err != nil:
		return -1, fmt.Errorf("preparing the command for task isolation: %w", err)
	case r.Errno != 0:
		return -1, &ExecError{r.Step, r.Errno}
	}
	pidfd, err := unix.PidfdOpen(p.PID(), 0)
	if err != nil {
		return -1, fmt.Errorf("opening process %d: %w", p.PID(), err)
	}
	defer unix.Close(pidfd)
	if listener, err = unix.PidfdGetfd(pidfd, r.Listener, 0); err != nil {
		return -1, fmt.Errorf("taking over descriptor %d of process %d: %w", r.Listener, p.PID(), err)
	}
	return listener, nil
}

func (p *Process) next() (stubReport, error) {
	line, err := p.report.ReadBytes('\n')
	if err != nil {
		if len(line) > 0 {
			err = errReport
		}
		return stubReport{}, err
	}
	var r stubReport
	if err := json.Unmarshal(line, &r); err != nil {
		return stubReport{}, fmt.Errorf("parsing the launcher's report %q: %w", line, err)
	}
	return r, nil
}

// PID returns the number of the process.
func (p *Process) PID() int { return p.stub.Process.Pid }

// Signal sends a signal to the process.
func (p *Process) Signal(sig os.Signal) error { return p.stub.Process.Signal(sig) }

// Wait waits for the end of the process and returns how it ended. It is to be
// called once.
func (p *Process) Wait() *os.ProcessState {
	p.stub.Wait() // how it ended is in ProcessState
	return p.stub.ProcessState
}

// End sends SIGKILL and lets the threads end on the CPUs of this process: a thread
// that is killed still needs a turn to end, which a real-time task that never
// sleeps does not give it where it was.
func (p *Process) End() error {
	p.moveHere()
	return p.stub.Process.Kill()
}

// moveHere moves what can be moved; a cpuset can confine the threads to CPUs that
// this process may not use.
func (p *Process) moveHere() {
	here, err := affinity.Of(0)
	if err != nil {
		return // it stays where it is
	}
	threads, _ := proc.Threads(os.DirFS("/"), p.PID()) // none if it has ended
	for _, tid := range threads {
		_ = affinity.Set(tid, here) // as above
	}
}

// Kill ends a process that is not wanted any more and waits for its end.
func (p *Process) Kill() error {
	p.release.Close()
	err := p.End()
	p.Wait()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}
