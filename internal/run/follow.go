// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/observe"
	"github.com/taskiso/taskiso/internal/output"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/task"
)

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
	if err := o.start(t.Describe); err != nil {
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
			if interrupted == nil && task.Ends(sig) {
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

// publishTask completes the report with how the task ended. ended: by us.
func (o *Observation) publishTask(t *Task, state *os.ProcessState, ended bool) (task.Verdict, error) {
	r := &o.Report
	threads, endedBy := r.Task.Threads, r.Task.EndedBy
	r.Task = t.Describe
	r.Task.Threads, r.Task.EndedBy = threads, endedBy
	var loops *report.TaskUsage // what the loops have used up: the rest of their process is not what is observed
	if t.Loop != nil {
		loops = o.addLoops(t.Loop, state)
	} else {
		code := task.ExitCode(state)
		r.Task.Status = &code
		if err := o.addLeftBehind(); err != nil {
			return task.Verdict{}, err
		}
	}
	var err error
	if r.Usage, err = o.system.usage(o.cfg.Files, o.cfg.Target.CPUs, state, &t.Process.Used); err != nil {
		return task.Verdict{}, err
	}
	if t.Loop != nil {
		r.Usage.Task = loops
	}
	if o.counters != nil {
		r.Limits = append(r.Limits, o.counters.Missing...)
		if r.Usage.Events, err = o.counters.Read(); err != nil {
			return task.Verdict{}, err
		}
	}
	o.planPartition()
	judged := o.judged()
	if err := o.publish(judged); err != nil {
		return task.Verdict{}, err
	}
	return o.verdict(t, state, ended, judged), nil
}

// addLoops completes the report with what the loops have seen themselves, and returns what they have used up. Loops that were
// ended by SIGKILL cannot tell, as where something else kept their CPU: what was observed is reported all the same.
func (o *Observation) addLoops(out *loop.Output, state *os.ProcessState) *report.TaskUsage {
	r := &o.Report
	seen, used, err := out.Seen()
	if err != nil {
		r.Limits = append(r.Limits, fmt.Sprintf("what the busy loop itself saw is not known (%v): something else had its CPU, or ended it", state))
		return nil
	}
	r.Loop = seen
	if slices.ContainsFunc(seen, func(l report.Loop) bool { return l.YieldsEvery > 0 }) {
		r.Limits = append(r.Limits, noise.YieldLimit())
	}
	return &used
}
