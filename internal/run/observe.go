// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/taskiso/taskiso/internal/collect"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/task"
	"github.com/taskiso/taskiso/internal/trace"
)

// Observe attaches an observer. Without one it goes on, and returns no error: a
// command is worth running, and some things are seen without an observer.
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
		OnBreak:          o.triggers(onBreak),
		OnIsolationBreak: o.describeBreak,
		OnEnd:            o.ended,
		OnIsolation:      o.isolationEvent,
		Monitors:         cfg.Monitors,
		Beside:           cfg.Target.Beside,
	})
	if o.why != nil {
		fmt.Fprint(cfg.Warnings(), printable.Line("taskiso: kernel entries cannot be seen: %v", o.why))
		if cfg.Output.Record != "" {
			fmt.Fprintf(cfg.Warnings(), "taskiso: nothing is recorded to %s\n", cfg.Output.Record)
		}
		if cfg.Flight != nil {
			fmt.Fprintf(cfg.Warnings(), "taskiso: there will be no snapshots in %s\n", cfg.Flight.Dir)
		}
	}
	signal.Notify(o.Signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	o.Report = report.Report{
		Schema:  report.Schema,
		Version: cfg.Version,
		Host:    report.Host{Host: m.Host(), Sources: []report.Source{}},
		CPUs:    []report.CPU{},
		Limits:  append([]string{}, cfg.Target.Limits...),
	}
	return o
}

// Close ends what has not ended yet.
func (o *Observation) Close() {
	signal.Stop(o.Signals)
	if err := o.endHold(); err != nil {
		fmt.Fprint(o.cfg.Console.Stderr, printable.Line("taskiso: %v", err))
	}
	if err := o.finishIsolation(); err != nil {
		fmt.Fprint(o.cfg.Console.Stderr, printable.Line("taskiso: %v", err))
	}
	if err := o.endFlight(); err != nil {
		fmt.Fprintf(o.cfg.Console.Stderr, "taskiso: %v\n", err)
	}
	if o.observer != nil {
		o.observer.Close()
	}
	if o.counters != nil {
		o.counters.Close()
	}
}

// start begins to see and to count what becomes of a task.
func (o *Observation) start(of report.Task) error {
	var err error
	if o.system, err = readSystem(o.cfg.Files); err != nil {
		return err
	}
	o.Report.Started = time.Now().Add(o.cfg.WarmUp)
	if o.observer == nil {
		return nil
	}
	o.Report.Task = of
	if err := o.startFlight(); err != nil {
		return err
	}
	if err := o.record(); err != nil {
		return err
	}
	return o.observer.Start()
}

// until polls until the task has ended and returns how, or nil if the
// observation is to end first.
func (o *Observation) until(exited <-chan *os.ProcessState, t *Task) (*os.ProcessState, error) {
	w := task.Wait{
		Exited: exited, Signals: o.Signals, WarmUp: o.cfg.WarmUp, Duration: o.cfg.Duration, Interval: observe.PollInterval,
		Signal: func(sig os.Signal) bool { return !o.snapshotFor(sig) && task.Signalled(t.command(), sig) },
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
	o.pollFlight()
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

// Finish ends the observation, then the hold, and completes the report.
func (o *Observation) Finish() error {
	o.progress.Clear()
	if o.observer != nil {
		if err := o.observer.Finish(&o.Report); err != nil {
			return err
		}
		if err := o.endFlight(); err != nil {
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
