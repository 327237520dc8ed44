// SPDX-License-Identifier: Apache-2.0

// Package watch watches the page faults of a program, and publishes them.
package watch

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/faults"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/task"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/usersym"
	"github.com/taskiso/taskiso/pagefault"
)

// Config is what is watched, and how.
type Config struct {
	Console output.Console
	Files   fs.FS  // of the machine
	Version string // of taskiso

	PID, TID int      // 0 but for one, or for both with a Command
	Command  []string // nil for none

	Duration, WarmUp time.Duration // Duration is 0 for no end
	MajorOnly        bool
	KernelMode       bool // also faults that system calls take
	MarkedOnly       bool // only of threads that expect none
	NoTimes          bool // of faults
	MaxPerSecond     int  // 0 for all
	FailOnFault      bool
	Signal           unix.Signal // to the thread that faults; 0 for none

	Report, Text, Profile string // files, "" for none
	JSON                  bool   // print the report as JSON on standard output
	Quiet                 bool   // print no report
	Verbose               bool   // print each fault as it comes
}

// watching is one run.
type watching struct {
	cfg       Config
	report    faults.Report
	watcher   *pagefault.Watcher
	collector *faults.Collector
	adding    sync.Mutex    // while faults come: guards the collector
	list      *faultList    // nil if faults are not printed as they come
	profile   *display.File // nil if none was asked for
	json      *display.File // nil if none was asked for
	sheet     *output.Sheet
	program   string          // file that is executed, "" if that is not known
	process   *launch.Process // nil if it is not ours
	state     *os.ProcessState
	ended     bool // by us
}

// Run watches from the beginning to the verdict.
func Run(cfg Config) (task.Verdict, error) {
	if err := clock.Check(); err != nil {
		return task.Verdict{}, err
	}
	if err := proc.CheckNumbers(cfg.Files); err != nil {
		return task.Verdict{}, err
	}
	r := &watching{cfg: cfg, report: faults.Report{Version: cfg.Version, Kernel: topology.KernelRelease(), Limits: []string{}}}
	defer r.discard()
	if err := r.openFiles(); err != nil {
		return task.Verdict{}, err
	}
	r.report.Target = faults.Target{PID: cfg.PID, TID: cfg.TID, Command: cfg.Command}
	if err := r.attach(); err != nil {
		return task.Verdict{}, err
	}
	defer r.watcher.Close()
	if err := r.follow(); err != nil {
		return task.Verdict{}, err
	}
	if err := r.publish(); err != nil {
		return task.Verdict{}, err
	}
	return r.verdict(), nil
}

// attach begins to watch, and lets a command run.
func (r *watching) attach() error {
	options := pagefault.Options{
		MajorOnly: r.cfg.MajorOnly, KernelMode: r.cfg.KernelMode, Durations: !r.cfg.NoTimes, ThreadStacks: true, Stack: r.cfg.Profile != "",
		MaxPerSecond: r.cfg.MaxPerSecond,
	}
	r.program, _ = fs.ReadLink(r.cfg.Files, path.Join(proc.Process(max(r.cfg.PID, r.cfg.TID)), "exe")) // "" where that is not allowed
	target := pagefault.Process(r.cfg.PID)
	switch {
	case r.cfg.TID != 0:
		target = pagefault.Thread(r.cfg.TID)
	case r.cfg.PID == 0:
		if err := r.start(); err != nil {
			return err
		}
		target = pagefault.Process(r.process.PID())
		options.OnExec, options.Children = true, true
	}
	r.collector = faults.NewCollector(usersym.New(r.root()), r.profile != nil)
	r.collector.Marked = r.cfg.MarkedOnly
	r.collector.OnFault = r.onFault
	r.report.Started = time.Now()
	r.collector.Begin = clock.Here() + r.cfg.WarmUp
	var err error
	if r.watcher, err = pagefault.Watch(target, options); err != nil {
		r.abandon()
		return err
	}
	return r.release()
}

// root returns the directory in which the target sees its files, "" for that of taskiso: of a command, and of a process of
// another user, whose files are looked for where they are here.
func (r *watching) root() string {
	if r.process != nil {
		return ""
	}
	root := path.Join(proc.Process(max(r.cfg.PID, r.cfg.TID)), "root")
	if _, err := fs.ReadLink(r.cfg.Files, root); err != nil {
		return ""
	}
	return "/" + root
}

func (r *watching) start() error {
	command, err := task.Command(r.cfg.Command, cpulist.Set{})
	if err != nil {
		return err
	}
	if r.process, err = launch.Start(*command); err != nil {
		return err
	}
	if r.program, err = filepath.EvalSymlinks(command.Path); err == nil {
		r.program, err = filepath.Abs(r.program)
	}
	if err != nil {
		r.program = "" // only the name of a profile
	}
	r.report.Target.PID = r.process.PID()
	return nil
}

func (r *watching) abandon() {
	if r.process != nil {
		r.process.Kill()
	}
}

func (r *watching) release() error {
	if r.process == nil {
		return nil
	}
	err := r.process.Release()
	var failed *launch.ExecError
	switch {
	case errors.As(err, &failed):
		err = &task.NotExecuted{Name: r.cfg.Command[0], Err: failed}
	case err == nil:
		return nil
	}
	return errors.Join(err, r.watcher.Close())
}

// onFault does what is to be done with each fault that counts. The signal is first.
func (r *watching) onFault(f *pagefault.Fault) {
	if r.cfg.Signal != 0 {
		unix.Tgkill(f.PID, f.TID, r.cfg.Signal) // the thread may be gone
	}
	if r.list != nil {
		r.list.faults <- *f
	}
}

// follow reads faults until the target has ended, or we are to end.
func (r *watching) follow() error {
	if r.cfg.Verbose {
		r.list = newFaultList(r.cfg.Console.Stderr, r.collector.Describe)
		defer r.list.close()
	}
	read := make(chan error, 1)
	go func() { read <- r.read() }()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	var exited <-chan *os.ProcessState
	if r.process != nil {
		exited = task.Exited(r.process)
	}
	err := r.until(exited, signals, read)
	if r.process != nil && r.state == nil {
		r.ended = true
		r.state = task.End(r.process, exited, signals)
	}
	r.report.Duration = max(0, clock.Here()-r.collector.Begin)
	return err
}

// until waits for the end, and then for the last of the faults.
func (r *watching) until(exited <-chan *os.ProcessState, signals <-chan os.Signal, read <-chan error) error {
	w := task.Wait{
		Exited: exited, Read: read, Signals: signals, Signal: func(sig os.Signal) bool { return task.Signalled(r.process, sig) },
		WarmUp: r.cfg.WarmUp, Duration: r.cfg.Duration,
	}
	if progress := r.newProgress(); progress != nil {
		defer progress.Clear()
		w.Interval = output.ProgressInterval
		w.Poll = func(time.Time) (string, error) {
			progress.Print(clock.Here()-r.collector.Begin, r.soFar())
			return "", nil
		}
	}
	end, err := w.Until()
	r.state = end.State
	if end.By != "" {
		return errors.Join(r.watcher.Stop(), <-read)
	}
	if r.process != nil && err == nil {
		r.state = <-exited
	}
	return err
}

// newProgress returns nil where no progress is to be shown: in a pipe, and where
// the command or the list of faults is written to the same terminal.
func (r *watching) newProgress() *output.Progress {
	occupied := r.cfg.Verbose || r.process != nil && output.IsTerminal(os.Stdout)
	if r.cfg.Quiet || occupied {
		return nil
	}
	return output.NewProgress(r.cfg.Console.Stderr, r.cfg.Duration)
}

// soFar does not ask the kernel for its counts: that interrupts the CPUs where the target runs.
func (r *watching) soFar() string {
	r.adding.Lock()
	defer r.adding.Unlock()
	return faults.Summary(r.collector.Total())
}

func (r *watching) read() error {
	for {
		f, err := r.watcher.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r.adding.Lock()
		r.collector.Add(&f)
		r.adding.Unlock()
	}
}
