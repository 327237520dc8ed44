// SPDX-License-Identifier: Apache-2.0

package run

import (
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/task"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/trace"
)

// Watch observes what runs already, from where it is to its verdict. Target is what PlanWatch has planned.
func Watch(cfg Config, s *Subject, arm Arm, out *Output) (task.Verdict, error) {
	o := Observe(cfg, s.tracing(cfg.Target, arm), out.onBreak())
	defer o.Close()
	o.out, o.tape = out, out.record
	if s.describe.Kind != kindCPUs && o.observer != nil {
		var err error
		if o.aside, err = stepAside(s, cfg.Target.Machine, o.observer.Activity); err != nil {
			return task.Verdict{}, err
		}
	}
	if arm.TID != 0 {
		if err := o.arm(arm); err != nil {
			return task.Verdict{}, err
		}
	}
	return o.followSubject(s)
}

// PlanWatch decides where to observe, and moves taskiso off the CPUs concerned.
func PlanWatch(files fs.FS, cpus place.Request, s *Subject) (place.Target, error) {
	if err := clock.Check(); err != nil {
		return place.Target{}, err
	}
	if s.describe.Kind == kindCPUs {
		t, err := place.Plan(files, cpus)
		if err != nil {
			return t, err
		}
		return t, place.KeepOff(t.CPUs, t.Housekeeping)
	}
	m, err := topology.ReadMachine(files)
	if err == nil {
		err = proc.CheckNumbers(files)
	}
	if err != nil {
		return place.Target{}, err
	}
	t := place.Target{Machine: m}
	pinned, err := s.pinned()
	if err != nil {
		return t, err
	}
	// A task that may run anywhere leaves no CPU to be kept off.
	if housekeeping := m.Online.Minus(pinned); !housekeeping.IsEmpty() {
		err = place.KeepOff(pinned, housekeeping)
	}
	return t, err
}

// tracing returns what to trace of the subject.
func (s *Subject) tracing(t place.Target, arm Arm) trace.Config {
	cfg := trace.Config{Follow: s.follow, Isolation: arm.TID != 0}
	if s.describe.Kind == kindCPUs {
		cfg.CPUs, cfg.AllTasks = t.CPUs, true
	}
	return cfg
}

// followSubject watches what runs already and publishes the report.
func (o *Observation) followSubject(s *Subject) (task.Verdict, error) {
	o.ShowProgress(true)
	o.Report.Task = s.describe
	before, err := s.usage()
	if err != nil {
		return task.Verdict{}, err
	}
	if err := o.startWatching(s); err != nil {
		return task.Verdict{}, err
	}
	if err := announceReady(); err != nil {
		return task.Verdict{}, err
	}
	o.alive = s.Alive
	if _, err := o.until(nil, nil); err != nil {
		return task.Verdict{}, err
	}
	after, _ := s.usage() // gone when the subject has ended
	if err := o.Finish(); err != nil {
		return task.Verdict{}, err
	}
	if o.Report.Usage, err = o.system.usage(s.files, o.cfg.Target.CPUs, nil, nil); err != nil {
		return task.Verdict{}, err
	}
	o.Report.Usage.Task = after.Since(before)
	o.planPartition()
	judged := o.judged()
	if err := o.publish(judged); err != nil {
		return task.Verdict{}, err
	}
	if o.observer == nil {
		return task.Verdict{}, fmt.Errorf("watching %s: nothing was seen; %s", s, nextStep(o.why))
	}
	return o.ownVerdict(judged), nil
}

func (o *Observation) startWatching(s *Subject) error {
	if err := o.start(s.describe); err != nil {
		return err
	}
	o.Report.Started = time.Now().Add(o.cfg.WarmUp)
	if o.observer == nil {
		return nil
	}
	if s.describe.Kind != kindCPUs {
		if err := watchThreads(o.observer, s.threads); err != nil {
			return err
		}
	}
	o.observer.BeginNow(o.cfg.WarmUp)
	return nil
}

// watcher is what threads are given to.
type watcher interface {
	Watch(tid int) error
	Unwatch(tid int) error
}

// watchThreads adds every thread. Children of those that are watched are
// followed by the kernel side; a thread made by one that was not yet watched is
// found by looking again until there is no new one.
func watchThreads(w watcher, threads func() ([]int, error)) error {
	watched := make(map[int]bool)
	for {
		tids, err := threads()
		if err != nil {
			return err
		}
		fresh := false
		for _, tid := range tids {
			if watched[tid] {
				continue
			}
			if err := w.Watch(tid); err != nil {
				return err
			}
			watched[tid], fresh = true, true
		}
		if !fresh {
			return unwatchEnded(w, watched, tids)
		}
	}
}

// unwatchEnded forgets threads that ended when they were just to be watched: another thread may have their number.
func unwatchEnded(w watcher, watched map[int]bool, alive []int) error {
	for tid := range watched {
		if slices.Contains(alive, tid) {
			continue
		}
		if err := w.Unwatch(tid); err != nil {
			return err
		}
	}
	return nil
}
