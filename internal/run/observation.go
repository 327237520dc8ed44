// SPDX-License-Identifier: Apache-2.0

// Package run is the engine of run and watch: an observation with everything around it, from a Config to a report and a
// verdict. It knows no flags and no exit statuses.
package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/collect"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/session"
	"github.com/taskiso/taskiso/internal/task"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/trace"
)

// Config is what all observations have.
type Config struct {
	Console  output.Console
	Files    fs.FS
	Version  string // of taskiso
	Target   place.Target
	Duration time.Duration // from the end of the warm-up; 0 for no end
	WarmUp   time.Duration
	Buffer   int // bytes for the events of each CPU; 0 for the usual

	Monitors  []*monitor.Monitor
	MaxBreaks *uint64 // nil if any number will do
	Output    OutputConfig
}

// Observation is one run of an observer with everything around it.
type Observation struct {
	Report  report.Report
	Signals chan os.Signal // to taskiso

	cfg      Config
	out      *Output           // nil if the report is not published
	observer *observe.Observer // nil if this kernel or these privileges allow none
	why      error             // the reason then
	counters *observe.Counters // instead of the observer, for a task of ours
	system   systemCounts
	progress *output.Progress
	aside    *aside      // nil if taskiso keeps off certain CPUs for good
	alive    func() bool // whether what is watched is still there; nil for a task of ours

	isolable  cpulist.Set // CPUs on which a thread of a command may be isolated
	settle    time.Duration
	isolating *isolating      // nil if no calls for isolation are answered
	arming    *session.Arming // nil if no thread is isolated unasked
	armingErr error

	hold  *Hold // nil if nothing is held
	gate  *Gate // nil if calls for isolation do not matter to it
	holds HoldLog
}

// Observe attaches an observer. That none could be attached is no error: a
// command is worth running, and some things are seen without one.
func Observe(cfg Config, tracing trace.Config, onBreak func(report.Break)) *Observation {
	m := cfg.Target.Machine
	o := &Observation{cfg: cfg, Signals: make(chan os.Signal, 16)}
	tracing.RingBytes = cfg.Buffer
	last, _ := m.Possible.Last()
	tracing.PossibleCPUs = last + 1
	o.observer, o.why = observe.Open(observe.Config{
		Trace:            tracing,
		NohzFull:         m.NohzFull,
		Files:            cfg.Files,
		OnBreak:          onBreak,
		OnIsolationBreak: o.told,
		OnEnd:            o.ended,
		OnIsolation:      o.isolationEvent,
		Monitors:         cfg.Monitors,
		Beside:           cfg.Target.Beside,
	})
	if o.why != nil && !cfg.Output.Quiet {
		fmt.Fprintf(cfg.Console.Stderr, "taskiso: kernel entries cannot be seen: %v\n", o.why)
	}
	signal.Notify(o.Signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	o.Report = report.Report{
		Schema:  report.Schema,
		Version: cfg.Version,
		Host: report.Host{
			Kernel:   topology.KernelRelease(),
			Arch:     runtime.GOARCH,
			Online:   m.Online,
			Isolated: m.Isolated,
			NohzFull: m.NohzFull,
			Sources:  []report.Source{},
		},
		CPUs:   []report.CPU{},
		Limits: append([]string{}, cfg.Target.Limits...),
	}
	return o
}

// Sees tells whether kernel entries are seen.
func (o *Observation) Sees() bool { return o.observer != nil }

// Began returns when the observation began, or is to begin, if kernel entries are seen.
func (o *Observation) Began() time.Duration { return o.observer.Began() }

// Close ends what has not ended yet.
func (o *Observation) Close() {
	signal.Stop(o.Signals)
	if err := o.endHold(); err != nil {
		fmt.Fprintf(o.cfg.Console.Stderr, "taskiso: %v\n", err)
	}
	if err := o.finishIsolation(); err != nil {
		fmt.Fprintf(o.cfg.Console.Stderr, "taskiso: %v\n", err)
	}
	if o.observer != nil {
		o.observer.Close()
	}
	if o.counters != nil {
		o.counters.Close()
	}
}

// followTask lets a task of ours run, observes it, and publishes the report.
func (o *Observation) followTask(t *Task) (task.Verdict, error) {
	o.ShowProgress(t.Loop != nil || !output.IsTerminal(os.Stdout))
	if err := o.Release(t); err != nil {
		t.Process.Kill()
		return task.Verdict{}, err
	}
	exited := task.Exited(t.Process)
	state, err := o.until(exited, t)
	if err == nil {
		err = o.Finish()
	}
	ended := state == nil
	if ended {
		state = task.End(t.Process, exited, o.Signals)
	}
	if err != nil {
		return task.Verdict{}, err
	}
	return o.publishTask(t, state, ended)
}

// Release lets the task run and the observation begin with it.
func (o *Observation) Release(t *Task) error {
	warmUp := o.cfg.WarmUp
	if err := o.start(); err != nil {
		return err
	}
	if err := o.attend(t, warmUp); err != nil {
		return err
	}
	if t.Isolable {
		if err := o.isolate(t); err != nil {
			return err
		}
	}
	o.Report.Started = time.Now().Add(warmUp)
	var failed *launch.ExecError
	if err := o.unlessInterrupted("starting "+t.name(), t.Process.Release); errors.As(err, &failed) {
		return &task.NotExecuted{Name: t.name(), Err: failed}
	} else if err != nil {
		return err
	}
	if t.Loop == nil {
		return nil
	}
	if err := o.unlessInterrupted(fmt.Sprintf("waiting for a turn of the busy loop on CPU %v", o.cfg.Target.CPUs), t.Loop.WaitSpinning); err != nil {
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
func (o *Observation) unlessInterrupted(doing string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	var expired <-chan time.Time
	if o.cfg.Duration > 0 {
		expired = time.After(o.cfg.WarmUp + o.cfg.Duration + startTime)
	}
	var interrupted os.Signal
	for {
		select {
		case err := <-done:
			o.again(interrupted)
			return err
		case <-expired:
			return notStarted(doing, interrupted)
		case sig := <-o.Signals:
			if interrupted == nil && Ends(sig) {
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
func (o *Observation) again(sig os.Signal) {
	if sig == nil {
		return
	}
	select {
	case o.Signals <- sig:
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
func (o *Observation) attend(t *Task, warmUp time.Duration) error {
	if o.observer == nil {
		o.counters = observe.OpenCounters(t.Process.TID)
		return nil
	}
	if t.Loop == nil {
		o.observer.BeginAtExec(t.Process.TID, warmUp)
	}
	return o.observer.Watch(t.Process.TID)
}

func (t *Task) name() string {
	if len(t.Describe.Command) == 0 {
		return t.Describe.Kind
	}
	return t.Describe.Command[0]
}

// start begins to record and to count.
func (o *Observation) start() error {
	var err error
	if o.system, err = readSystem(o.cfg.Files); err != nil {
		return err
	}
	if o.observer == nil {
		return nil
	}
	return o.observer.Start()
}

// until polls until the task has ended and returns how, or nil if the
// observation is to end first.
func (o *Observation) until(exited <-chan *os.ProcessState, t *Task) (*os.ProcessState, error) {
	w := task.Wait{
		Exited: exited, Signals: o.Signals, WarmUp: o.cfg.WarmUp, Duration: o.cfg.Duration, Interval: observe.PollInterval,
		Signal: func(sig os.Signal) bool { return signalled(sig, t) },
		Poll: func(now time.Time) (string, error) {
			err := o.Poll(now)
			if err == nil && o.alive != nil && !o.alive() {
				return task.ByExit, nil
			}
			return "", err
		},
	}
	end, err := w.Until()
	o.Report.Task.EndedBy = end.By
	return end.State, err
}

// Poll is to be called every observe.PollInterval.
func (o *Observation) Poll(now time.Time) error {
	if o.observer == nil {
		return nil
	}
	if err := o.observer.Poll(); err != nil {
		return err
	}
	o.showProgress(now)
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

// signalled handles a signal to taskiso and tells whether it ends the observation: it is passed on to a command.
func signalled(sig os.Signal, t *Task) bool {
	if t == nil || t.Loop != nil {
		return Ends(sig)
	}
	task.PassOn(t.Process, sig)
	return false
}

// Ends tells whether a signal ends an observation.
func Ends(sig os.Signal) bool { return sig != syscall.SIGUSR1 && sig != syscall.SIGUSR2 }

// Finish ends the observation, then the hold, and completes the report.
func (o *Observation) Finish() error {
	o.progress.Clear()
	if o.observer != nil {
		if err := o.observer.Finish(&o.Report); err != nil {
			return err
		}
		if err := o.finishIsolation(); err != nil {
			return err
		}
		// After the observation, which would see its programs being detached.
		if err := o.endHold(); err != nil {
			return err
		}
		if n := collect.Unnamed(&o.Report); n > 0 {
			o.Report.Limits = append(o.Report.Limits, candidates(o.cfg.Files, n))
		}
		return nil
	}
	if err := o.endHold(); err != nil {
		return err
	}
	o.Report.Duration = time.Since(o.Report.Started)
	o.Report.Judge(report.Scope{CPUs: o.cfg.Target.CPUs, WarmUp: o.cfg.WarmUp})
	o.Report.Limits = append(o.Report.Limits, fmt.Sprintf("kernel entries could not be seen: %v; %s", o.why, nextStep(o.why)))
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
func (o *Observation) publishTask(t *Task, state *os.ProcessState, ended bool) (task.Verdict, error) {
	r := &o.Report
	threads, endedBy := r.Task.Threads, r.Task.EndedBy
	r.Task = t.Describe
	r.Task.Threads, r.Task.EndedBy = threads, endedBy
	if t.Loop == nil {
		code := task.ExitCode(state)
		r.Task.Status = &code
		if err := o.addLeftBehind(); err != nil {
			return task.Verdict{}, err
		}
	} else if seen, err := t.Loop.Seen(); err == nil {
		r.Loop = seen
		if slices.ContainsFunc(seen, func(l report.Loop) bool { return l.YieldsEvery > 0 }) {
			r.Limits = append(r.Limits, noise.YieldLimit())
		}
	} else {
		return task.Verdict{}, err
	}
	var err error
	if r.Usage, err = o.system.usage(o.cfg.Files, o.cfg.Target.CPUs, state, &t.Process.Used); err != nil {
		return task.Verdict{}, err
	}
	if o.counters != nil {
		r.Limits = append(r.Limits, o.counters.Missing...)
		if r.Usage.Events, err = o.counters.Read(); err != nil {
			return task.Verdict{}, err
		}
	}
	if err := o.out.publish(r); err != nil {
		return task.Verdict{}, err
	}
	return o.verdict(t, state, ended), nil
}
