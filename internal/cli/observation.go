// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/collect"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/run"
	"github.com/taskiso/taskiso/internal/session"
	"github.com/taskiso/taskiso/internal/trace"
)

// observation is one run of an observer with everything around it.
type observation struct {
	p        *program
	opts     *options
	target   target
	out      *output
	observer *observe.Observer // nil if this kernel or these privileges allow none
	why      error             // the reason then
	report   report.Report
	counters *observe.Counters // instead of the observer, for a task of ours
	system   systemCounts
	progress *progress
	signals  chan os.Signal
	endedBy  string
	aside    *aside      // nil if taskiso keeps off certain CPUs for good
	alive    func() bool // whether what is watched is still there; nil for a task of ours

	isolable  cpulist.Set // CPUs on which a thread of a command may be isolated
	settle    time.Duration
	isolating *isolating      // nil if no calls for isolation are answered
	arming    *session.Arming // nil if no thread is isolated unasked
	armingErr error

	holding *run.Hold // nil if nothing is held
	gate    *run.Gate // nil if calls for isolation do not matter to it
	holds   run.HoldLog
}

// observe attaches an observer. That none could be attached is no error: a
// command is worth running, and some things are seen without one.
func (p *program) observe(opts *options, t target, out *output, cfg trace.Config, onBreak func(report.Break)) *observation {
	cfg.RingBytes = int(opts.buffer)
	o := &observation{p: p, opts: opts, target: t, out: out, signals: make(chan os.Signal, 16)}
	last, _ := t.machine.Possible.Last()
	cfg.PossibleCPUs = last + 1
	o.observer, o.why = observe.Open(observe.Config{
		Trace:            cfg,
		NohzFull:         t.machine.NohzFull,
		Files:            p.files.View(),
		OnBreak:          onBreak,
		OnIsolationBreak: o.told,
		OnEnd:            o.ended,
		OnIsolation:      o.isolationEvent,
		Monitors:         opts.monitors,
		Beside:           t.beside,
	})
	if o.why != nil && !opts.quiet {
		fmt.Fprintf(p.stderr, "taskiso: kernel entries cannot be seen: %v\n", o.why)
	}
	signal.Notify(o.signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	o.report = report.Report{
		Schema:  report.Schema,
		Version: version(),
		Host: report.Host{
			Kernel:   kernelRelease(),
			Arch:     runtime.GOARCH,
			Online:   t.machine.Online,
			Isolated: t.machine.Isolated,
			NohzFull: t.machine.NohzFull,
			Sources:  []report.Source{},
		},
		CPUs:   []report.CPU{},
		Limits: append([]string{}, t.limits...),
	}
	return o
}

func kernelRelease() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(uts.Release[:])
}

func (o *observation) close() {
	signal.Stop(o.signals)
	if err := o.endHold(); err != nil {
		fmt.Fprintf(o.p.stderr, "taskiso: %v\n", err)
	}
	if err := o.finishIsolation(); err != nil {
		fmt.Fprintf(o.p.stderr, "taskiso: %v\n", err)
	}
	if o.observer != nil {
		o.observer.Close()
	}
	if o.counters != nil {
		o.counters.Close()
	}
}

// followTask lets a task of ours run, observes it, and publishes the report.
func (o *observation) followTask(t *task) error {
	o.progress = o.p.newProgress(o.opts, t.loop != nil || !isTerminal(os.Stdout))
	if err := o.release(t); err != nil {
		t.process.Kill()
		return err
	}
	exited := make(chan *os.ProcessState, 1)
	go func() { exited <- t.process.Wait() }()

	state, err := o.until(exited, t)
	if err == nil {
		err = o.finish()
	}
	ended := state == nil
	if ended {
		state = t.end(exited, o.signals)
	}
	if err != nil {
		return err
	}
	return o.publishTask(t, state, ended)
}

// release lets the task run and the observation begin with it.
func (o *observation) release(t *task) error {
	warmUp := time.Duration(o.opts.warmUp)
	if err := o.start(); err != nil {
		return err
	}
	if err := o.attend(t, warmUp); err != nil {
		return err
	}
	if t.isolable {
		if err := o.isolate(t); err != nil {
			return err
		}
	}
	o.report.Started = time.Now().Add(warmUp)
	var failed *launch.ExecError
	if err := o.unlessInterrupted("starting "+t.name(), t.process.Release); errors.As(err, &failed) {
		return notExecuted(t.name(), failed)
	} else if err != nil {
		return err
	}
	if t.loop == nil {
		return nil
	}
	if err := o.unlessInterrupted(fmt.Sprintf("waiting for a turn of the busy loop on CPU %v", o.target.cpus), t.loop.WaitSpinning); err != nil {
		return err
	}
	if o.observer != nil {
		o.observer.BeginNow(warmUp)
	}
	return nil
}

// unlessInterrupted returns what f returns, unless a signal comes before, or the
// time that the observation is to last has passed: a task that is started can wait
// for ever, for a file or for a CPU on which something never sleeps.
func (o *observation) unlessInterrupted(doing string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	var expired <-chan time.Time
	if o.opts.duration > 0 {
		expired = time.After(time.Duration(o.opts.warmUp+o.opts.duration) + startTime)
	}
	var interrupted os.Signal
	for {
		select {
		case err := <-done:
			o.again(interrupted)
			return err
		case <-expired:
			return notStarted(doing, interrupted)
		case sig := <-o.signals:
			if interrupted == nil && sig != syscall.SIGUSR1 && sig != syscall.SIGUSR2 {
				interrupted, expired = sig, time.After(interruptedTime)
			}
		}
	}
}

// startTime is how long a task may take to start on a busy machine, besides the
// time for which it is to be observed; interruptedTime what it has left of that
// after a signal: a report of little is better than none.
const (
	startTime       = time.Minute
	interruptedTime = 500 * time.Millisecond
)

// again lets a signal, nil for none, end what has begun now. Where more signals wait
// than there is room for, one of them does.
func (o *observation) again(sig os.Signal) {
	if sig == nil {
		return
	}
	select {
	case o.signals <- sig:
	default:
	}
}

func notStarted(doing string, interrupted os.Signal) error {
	if interrupted != nil {
		return fmt.Errorf("%s had not ended when the signal %q came: nothing was observed", doing, interrupted)
	}
	return fmt.Errorf("%s took too long: nothing was observed; \"taskiso watch\" shows what runs on a CPU", doing)
}

// attend has the observer look at the task, or counts what can be counted.
func (o *observation) attend(t *task, warmUp time.Duration) error {
	if o.observer == nil {
		o.counters = observe.OpenCounters(t.process.TID)
		return nil
	}
	if t.loop == nil {
		o.observer.BeginAtExec(t.process.TID, warmUp)
	}
	return o.observer.Watch(t.process.TID)
}

func (t *task) name() string {
	if len(t.describe.Command) == 0 {
		return t.describe.Kind
	}
	return t.describe.Command[0]
}

// start begins to record and to count.
func (o *observation) start() error {
	var err error
	if o.system, err = readSystem(o.p.files.View()); err != nil {
		return err
	}
	if o.observer == nil {
		return nil
	}
	return o.observer.Start()
}

// until polls until the task has ended and returns how, or nil if the
// observation is to end first.
func (o *observation) until(exited <-chan *os.ProcessState, t *task) (*os.ProcessState, error) {
	tick := time.NewTicker(observe.PollInterval)
	defer tick.Stop()
	var expired <-chan time.Time
	if o.opts.duration > 0 {
		expired = time.After(time.Duration(o.opts.warmUp + o.opts.duration))
	}
	for {
		select {
		case state := <-exited:
			o.endedBy = "exit"
			return state, nil
		case <-expired:
			o.endedBy = "duration"
			return nil, nil
		case sig := <-o.signals:
			if o.signalled(sig, t) {
				o.endedBy = "interrupt"
				return nil, nil
			}
		case now := <-tick.C:
			if err := o.poll(now); err != nil {
				return nil, err
			}
			if o.alive != nil && !o.alive() {
				o.endedBy = "exit"
				return nil, nil
			}
		}
	}
}

func (o *observation) poll(now time.Time) error {
	if o.observer == nil {
		return nil
	}
	if err := o.observer.Poll(); err != nil {
		return err
	}
	o.progress.show(now, o.observer.Progress())
	if o.aside != nil {
		if err := o.aside.poll(now); err != nil {
			return err
		}
	}
	if o.gate != nil {
		if err := o.gate.Poll(); err != nil {
			return err
		}
	}
	if o.arming != nil {
		return errors.Join(o.armingErr, o.arming.Poll())
	}
	return nil
}

// signalled handles a signal to taskiso and tells whether it ends the observation.
func (o *observation) signalled(sig os.Signal, t *task) bool {
	if t == nil || t.loop != nil {
		return sig != syscall.SIGUSR1 && sig != syscall.SIGUSR2
	}
	passOn(t.process, sig)
	return false
}

// passOn gives a signal to a command, unless the terminal has sent it to both.
func passOn(command *launch.Process, sig os.Signal) {
	fromTerminal := sig == syscall.SIGINT || sig == syscall.SIGQUIT
	if !fromTerminal || !controlsTerminal() {
		command.Signal(sig)
	}
}

func (o *observation) finish() error {
	o.progress.clear()
	if o.observer != nil {
		if err := o.observer.Finish(&o.report); err != nil {
			return err
		}
		if err := o.finishIsolation(); err != nil {
			return err
		}
		// After the observation, which would see its programs being detached.
		if err := o.endHold(); err != nil {
			return err
		}
		if n := collect.Unnamed(&o.report); n > 0 {
			o.report.Limits = append(o.report.Limits, o.p.candidates(n))
		}
		return nil
	}
	if err := o.endHold(); err != nil {
		return err
	}
	o.report.Duration = time.Since(o.report.Started)
	o.report.Judge(report.Scope{CPUs: o.target.cpus, WarmUp: time.Duration(o.opts.warmUp)})
	o.report.Limits = append(o.report.Limits, fmt.Sprintf("kernel entries could not be seen: %v; %s", o.why, nextStep(o.why)))
	return nil
}

// nextStep says what to do about a missing observer.
func nextStep(why error) string {
	if errors.Is(why, fs.ErrPermission) {
		return "run as root or with CAP_BPF, CAP_PERFMON and CAP_SYSLOG; \"taskiso doctor\" has details"
	}
	return "\"taskiso doctor\" has details"
}

// publishTask completes the report with how the task ended. ended: by us.
func (o *observation) publishTask(t *task, state *os.ProcessState, ended bool) error {
	r := &o.report
	threads := r.Task.Threads
	r.Task = t.describe
	r.Task.Threads = threads
	r.Task.EndedBy = o.endedBy
	if t.loop == nil {
		code := exitCode(state)
		r.Task.Status = &code
		if err := o.addLeftBehind(); err != nil {
			return err
		}
	} else if seen, err := t.loop.Seen(); err == nil {
		r.Loop = seen
		if slices.ContainsFunc(seen, func(l report.Loop) bool { return l.YieldsEvery > 0 }) {
			r.Limits = append(r.Limits, noise.YieldLimit())
		}
	} else {
		return err
	}
	var err error
	if r.Usage, err = o.system.usage(o.p.files.View(), o.target.cpus, state, &t.process.Used); err != nil {
		return err
	}
	if o.counters != nil {
		r.Limits = append(r.Limits, o.counters.Missing...)
		if r.Usage.Events, err = o.counters.Read(); err != nil {
			return err
		}
	}
	if err := o.out.publish(r); err != nil {
		return err
	}
	return o.verdict(t, state, ended)
}

// verdict returns the exit status. One of the command comes before one of ours.
func (o *observation) verdict(t *task, state *os.ProcessState, ended bool) error {
	if code := exitCode(state); t.loop == nil && !ended && code != 0 {
		return &status{code: code}
	}
	return o.ownVerdict()
}

// ownVerdict returns the exit status that the observation itself gives.
func (o *observation) ownVerdict() error {
	if err := o.breaksVerdict(); err != nil {
		return err
	}
	return o.monitorsVerdict()
}

// monitorsVerdict prefers a violation to what is not known.
func (o *observation) monitorsVerdict() error {
	var unknown error
	for _, m := range o.report.Monitors {
		switch m.Verdict {
		case report.MonitorViolated:
			return &status{exitViolated, fmt.Errorf("%s violated %d times on CPU %d", m.Monitor, m.Violations, m.CPU)}
		case report.MonitorUnknown:
			unknown = &status{exitFailed, fmt.Errorf("%s cannot be judged on CPU %d: %s", m.Monitor, m.CPU, strings.Join(m.Reasons, "; "))}
		}
	}
	if why := o.report.Unjudged(); len(o.report.Monitors) == 0 && len(o.opts.monitors) > 0 {
		return &status{exitFailed, fmt.Errorf("--monitor cannot be judged: %s", why)}
	}
	return unknown
}

func (o *observation) breaksVerdict() error {
	if !o.opts.maxBreaksGiven {
		return nil
	}
	var breaks uint64
	for _, c := range o.report.CPUs {
		breaks += c.Breaks
	}
	if breaks > o.opts.maxBreaks {
		return &status{exitTooManyBreaks, fmt.Errorf("%d breaks, more than --max-breaks %d", breaks, o.opts.maxBreaks)}
	}
	if why := o.report.Unjudged(); why != "" {
		return &status{exitFailed, fmt.Errorf("--max-breaks %d cannot be judged: %s", o.opts.maxBreaks, why)}
	}
	return nil
}
