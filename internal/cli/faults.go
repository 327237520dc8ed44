// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/faults"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/signame"
	"github.com/taskiso/taskiso/internal/trace"
	"github.com/taskiso/taskiso/internal/usersym"
	"github.com/taskiso/taskiso/pagefault"
)

// exitFaults is the status of --fail-on-fault.
const exitFaults = exitTooManyBreaks

// faultsOptions are those of taskiso faults.
type faultsOptions struct {
	pid, tid     int
	duration     duration
	warmUp       duration
	major        bool
	kernel       bool
	marked       bool
	noTimes      bool
	failOnFault  bool
	maxPerSecond int
	signal       string
	json         bool
	report       string
	output       string
	pprof        string
	quiet        bool
	verbose      bool

	sig unix.Signal // 0 for none
}

func (p *program) faultsCommand() *cobra.Command {
	var o faultsOptions
	c := &cobra.Command{
		Use:   "faults [flags] {-p PID | -t TID | [--] COMMAND [ARG...]}",
		Short: "Show the page faults of a program",
		Long: `faults shows page faults: how many, in which mapping, by which code, and how
long they took. It needs no privileges for one's own programs where the sysctl
kernel.perf_event_paranoid is 2 or less; Debian's default is 3.

A process is watched with all its threads, a command also with its child
processes, from its first instruction on. Faults in user mode are shown; those of
system calls only with --kernel.

With --marked only faults of threads count that have declared that they expect none:
pagefault.ExpectNone in Go, taskiso_pagefault_mark_none in C. With --signal a
thread gets a signal for each fault that counts, up to 20 ms later. (A program can
get it at the faulting instruction itself: taskiso_pagefault_notify_on.)

The report goes to standard error. The exit status is that of COMMAND, or 128+n if
signal n ended it; 3 with --fail-on-fault if faults counted, or were lost, and
COMMAND succeeded; 2 for a wrong command line; 125 if taskiso failed; 126 if
COMMAND cannot be executed and 127 if it was not found.`,
		Example: `  taskiso faults -- ./app
  taskiso faults -p 1234 -d 10s --major
  taskiso faults --pprof app.pb.gz -- ./app && go tool pprof -top app.pb.gz
  taskiso faults --warm-up 5s --fail-on-fault -d 1m -- ./realtime`,
		RunE: func(c *cobra.Command, args []string) error {
			command, err := commandOf(c, args)
			if err != nil {
				return err
			}
			if err := o.complete(c, command); err != nil {
				return err
			}
			return p.faults(&o, command)
		},
	}
	o.register(c)
	c.Flags().SetInterspersed(false)
	return c
}

func (o *faultsOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.IntVarP(&o.pid, "pid", "p", 0, "watch process `PID`")
	f.IntVarP(&o.tid, "tid", "t", 0, "watch thread `TID`")
	f.VarP(&o.duration, "duration", "d", "end after this `TIME`, counted from the end of the warm-up: 30, 30s, 5m, 2h, 1d")
	f.Var(&o.warmUp, "warm-up", "do not count what happens in the first `TIME`")
	f.BoolVar(&o.major, "major", false, "only major faults")
	f.BoolVar(&o.kernel, "kernel", false, "also faults that system calls take")
	f.BoolVar(&o.marked, "marked", false, "only of threads that expect none")
	f.BoolVar(&o.noTimes, "no-times", false, "do not measure how long faults take, which costs less")
	f.BoolVar(&o.failOnFault, "fail-on-fault", false, "exit with status 3 if there are faults")
	f.IntVar(&o.maxPerSecond, "max-per-second", 0, "look at no more than `N` faults per second, and count the others")
	f.StringVar(&o.signal, "signal", "", "send `SIGNAL` to the thread that faults")
	f.BoolVar(&o.json, "json", false, "print the report as JSON on standard output")
	registerOutput(f, &o.output)
	f.StringVar(&o.report, "report", "", "write the report as JSON to `FILE`")
	f.StringVar(&o.pprof, "pprof", "", "write a profile for go tool pprof to `FILE`, with stacks as far as frame pointers go")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no report")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print each fault as it comes")
}

// complete refuses what cannot be meant.
func (o *faultsOptions) complete(c *cobra.Command, args []string) error {
	given := 0
	for _, name := range []string{"pid", "tid"} {
		if c.Flags().Changed(name) {
			given++
		}
	}
	if len(args) > 0 {
		given++
	}
	switch {
	case given != 1:
		return usageError("nothing to watch: give one of -p PID, -t TID and a COMMAND")
	case len(args) == 0 && o.pid+o.tid <= 0:
		return usageError("%d is not the number of a process or thread", o.pid+o.tid)
	case c.Flags().Changed("duration") && o.duration == 0:
		return usageError("a duration of 0 would observe nothing")
	case o.quiet && o.verbose:
		return usageError("--quiet and --verbose exclude each other")
	case o.maxPerSecond < 0:
		return usageError("--max-per-second cannot be negative")
	}
	return o.parseSignal()
}

func (o *faultsOptions) parseSignal() error {
	if o.signal == "" {
		return nil
	}
	var err error
	if o.sig, err = signame.Parse(o.signal); err != nil {
		return usageError("%w", err)
	}
	return nil
}

// faultsRun is one run of taskiso faults.
type faultsRun struct {
	p         *program
	o         *faultsOptions
	report    faults.Report
	watcher   *pagefault.Watcher
	collector *faults.Collector
	adding    sync.Mutex    // while faults come: guards the collector
	list      *faultList    // nil without --verbose
	profile   *display.File // nil if none was asked for
	json      *display.File // nil if none was asked for
	sheet     *sheet
	program   string          // file that is executed, "" if that is not known
	process   *launch.Process // nil if it is not ours
	state     *os.ProcessState
	ended     bool // by us
}

func (p *program) faults(o *faultsOptions, args []string) error {
	r := &faultsRun{p: p, o: o, report: faults.Report{Version: version(), Kernel: kernelRelease(), Limits: []string{}}}
	if o.pprof != "" {
		var err error
		if r.profile, err = display.Create(o.pprof); err != nil {
			return err
		}
		defer r.profile.Discard()
	}
	if err := trace.CheckNumbers(); err != nil {
		return err
	}
	var err error
	if r.sheet, err = p.openSheet(o.output, p.stderr, os.Stderr, !o.quiet && !o.json); err != nil {
		return err
	}
	defer r.sheet.discard()
	if o.report != "" {
		if r.json, err = display.Create(o.report); err != nil {
			return err
		}
		defer r.json.Discard()
	}
	r.report.Target = faults.Target{PID: o.pid, TID: o.tid, Command: args}
	if err := r.attach(args); err != nil {
		return err
	}
	defer r.watcher.Close()
	if err := r.follow(); err != nil {
		return err
	}
	if err := r.publish(); err != nil {
		return err
	}
	return r.verdict()
}

// attach begins to watch, and lets a command run.
func (r *faultsRun) attach(args []string) error {
	options := pagefault.Options{
		MajorOnly: r.o.major, KernelMode: r.o.kernel, Durations: !r.o.noTimes, ThreadStacks: true, Stack: r.o.pprof != "",
		MaxPerSecond: r.o.maxPerSecond,
	}
	r.program, _ = os.Readlink(fmt.Sprintf("/proc/%d/exe", max(r.o.pid, r.o.tid))) // "" where that is not allowed
	target := pagefault.Process(r.o.pid)
	root := fmt.Sprintf("/proc/%d/root", r.o.pid)
	switch {
	case r.o.tid != 0:
		target, root = pagefault.Thread(r.o.tid), fmt.Sprintf("/proc/%d/root", r.o.tid)
	case r.o.pid == 0:
		if err := r.start(args); err != nil {
			return err
		}
		target, root = pagefault.Process(r.process.PID()), ""
		options.OnExec, options.Children = true, true
	}
	if _, err := os.Readlink(root); err != nil {
		root = "" // of another user: look for files where they are here
	}
	r.collector = faults.NewCollector(usersym.New(root), r.profile != nil)
	r.collector.Marked = r.o.marked
	r.collector.OnFault = r.onFault
	r.report.Started = time.Now()
	r.collector.Begin = clock.Now() + time.Duration(r.o.warmUp)
	var err error
	if r.watcher, err = pagefault.Watch(target, options); err != nil {
		r.abandon()
		return faultsFailed(err)
	}
	return r.release(args)
}

// faultsFailed gives an error about the target the status of a wrong command line.
func faultsFailed(err error) error {
	if errors.Is(err, pagefault.ErrNoTarget) {
		return &status{exitUsage, err}
	}
	return err
}

func (r *faultsRun) start(args []string) error {
	command, err := planCommand(args, "", cpulist.Set{})
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

func (r *faultsRun) abandon() {
	if r.process != nil {
		r.process.Kill()
	}
}

func (r *faultsRun) release(args []string) error {
	if r.process == nil {
		return nil
	}
	err := r.process.Release()
	var failed *launch.ExecError
	switch {
	case errors.As(err, &failed):
		err = notExecuted(args[0], failed)
	case err == nil:
		return nil
	}
	return errors.Join(err, r.watcher.Close())
}

// onFault does what is to be done with each fault that counts. The signal is first.
func (r *faultsRun) onFault(f *pagefault.Fault) {
	if r.o.sig != 0 {
		unix.Tgkill(f.PID, f.TID, r.o.sig) // the thread may be gone
	}
	if r.list != nil {
		r.list.faults <- *f
	}
}

// faultList prints faults. It has a goroutine of its own: to find the names of code takes
// long, and the next faults do not wait.
type faultList struct {
	faults chan pagefault.Fault
	done   chan struct{}
}

func newFaultList(w io.Writer, describe func(*pagefault.Fault) faults.Fault) *faultList {
	const waiting = 10_000 // before faults have to wait after all
	l := &faultList{make(chan pagefault.Fault, waiting), make(chan struct{})}
	go func() {
		defer close(l.done)
		for f := range l.faults {
			fmt.Fprintln(w, faults.Line(describe(&f)))
		}
	}()
	return l
}

// close prints what there is.
func (l *faultList) close() {
	if l != nil {
		close(l.faults)
		<-l.done
	}
}

// follow reads faults until the target has ended, or we are to end.
func (r *faultsRun) follow() error {
	if r.o.verbose {
		r.list = newFaultList(r.p.stderr, r.collector.Describe)
		defer r.list.close()
	}
	read := make(chan error, 1)
	go func() { read <- r.read() }()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	exited := make(chan *os.ProcessState, 1)
	if r.process != nil {
		go func() { exited <- r.process.Wait() }()
	}
	err := r.until(exited, signals, read)
	if r.process != nil && r.state == nil {
		r.ended = true
		t := task{process: r.process}
		r.state = t.end(exited, signals)
	}
	r.report.Duration = max(0, clock.Now()-r.collector.Begin)
	return err
}

// until waits for the end, and then for the last of the faults.
func (r *faultsRun) until(exited <-chan *os.ProcessState, signals <-chan os.Signal, read <-chan error) error {
	var expired, look <-chan time.Time
	if r.o.duration > 0 {
		expired = time.After(time.Duration(r.o.warmUp + r.o.duration))
	}
	progress := r.newProgress()
	defer progress.clear()
	if progress != nil {
		ticker := time.NewTicker(progressInterval)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-look:
			progress.print(clock.Now()-r.collector.Begin, r.soFar())
			continue
		case err := <-read:
			if r.process != nil && err == nil {
				r.state = <-exited
			}
			return err
		case r.state = <-exited:
		case <-expired:
		case sig := <-signals:
			if r.process != nil {
				passOn(r.process, sig)
				continue
			}
		}
		return errors.Join(r.watcher.Stop(), <-read)
	}
}

// newProgress returns nil where no progress is to be shown: in a pipe, and where
// the command or the list of faults is written to the same terminal.
func (r *faultsRun) newProgress() *progress {
	occupied := r.o.verbose || r.process != nil && isTerminal(os.Stdout)
	if r.o.quiet || occupied || !isTerminal(os.Stderr) {
		return nil
	}
	return &progress{w: r.p.stderr, width: stderrWidth, total: time.Duration(r.o.duration)}
}

// soFar does not ask the kernel for its counts: that interrupts the CPUs where the target runs.
func (r *faultsRun) soFar() string {
	r.adding.Lock()
	defer r.adding.Unlock()
	return faults.Summary(r.collector.Total())
}

func (r *faultsRun) read() error {
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

func (r *faultsRun) publish() error {
	counts, err := r.watcher.Counts()
	if err != nil {
		return err
	}
	r.collector.Fill(&r.report)
	r.report.Lost, r.report.Omitted = counts.Lost, counts.Suppressed
	r.report.Limits = append(r.report.Limits, r.limits()...)
	r.describeEnd()
	files := errors.Join(r.publishProfile(), r.publishJSON())
	if r.o.json {
		files = errors.Join(files, faults.WriteJSON(r.p.stdout, &r.report))
	}
	text := func(w io.Writer, _ bool) error { return faults.WriteText(w, &r.report) }
	return r.sheet.publish(files, text)
}

func (r *faultsRun) publishProfile() error {
	if r.profile == nil {
		return nil
	}
	if err := r.collector.WriteProfile(r.profile, r.program, r.report.Started, r.report.Duration); err != nil {
		return err
	}
	return r.profile.Publish()
}

func (r *faultsRun) publishJSON() error {
	if r.json == nil {
		return nil
	}
	if err := faults.WriteJSON(r.json, &r.report); err != nil {
		return err
	}
	return r.json.Publish()
}

func (r *faultsRun) limits() []string {
	var limits []string
	if !r.o.kernel {
		limits = append(limits, "faults of system calls were left out; --kernel shows them, where that is allowed")
	}
	if r.o.major {
		limits = append(limits, "minor faults were left out")
	}
	return limits
}

func (r *faultsRun) describeEnd() {
	if r.state == nil {
		return
	}
	code := exitCode(r.state)
	r.report.Target.Status = &code
	if u, ok := r.state.SysUsage().(*syscall.Rusage); ok {
		r.report.Usage = &faults.Usage{Minor: u.Minflt - r.process.Used.Minflt, Major: u.Majflt - r.process.Used.Majflt}
	}
}

// verdict returns the exit status. One of the command comes before one of ours.
func (r *faultsRun) verdict() error {
	if r.state != nil && !r.ended {
		if code := exitCode(r.state); code != 0 {
			return &status{code: code}
		}
	}
	n := r.report.Minor + r.report.Major
	if r.o.failOnFault && n+r.report.Lost+r.report.Omitted > 0 {
		return &status{exitFaults, fmt.Errorf("page faults: %s, lost: %s", display.Count(n), display.Count(r.report.Lost+r.report.Omitted))}
	}
	return nil
}
