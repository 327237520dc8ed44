// SPDX-License-Identifier: Apache-2.0

package run

import (
	"io/fs"
	"time"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/clock"
	"github.com/taskiso/taskiso/internal/emulator"
	"github.com/taskiso/taskiso/internal/hold"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/task"
	"github.com/taskiso/taskiso/internal/trace"
)

// Plan decides where a command or a busy loop runs and is observed. Its threads must have the same numbers in /proc, and
// the kernel's clock must be known.
func Plan(files fs.FS, cpus place.Request) (place.Target, error) {
	if err := clock.Check(); err != nil {
		return place.Target{}, err
	}
	if err := proc.CheckNumbers(files); err != nil {
		return place.Target{}, err
	}
	return place.Plan(files, cpus)
}

// Job is what a run runs.
type Job struct {
	Command  *launch.Command // nil for the busy loop
	Isolable cpulist.Set     // CPUs on which a thread of the command may be isolated
	Settle   time.Duration   // that a call for isolation waits at most
	Hold     *hold.Config    // nil if nothing is held
}

// Run runs a command, or the busy loop, on CPUs that are as they are to be, and publishes what was observed.
func Run(cfg Config, job Job, out *Output) (task.Verdict, error) {
	o := Observe(cfg, trace.Config{CPUs: cfg.Target.CPUs, Follow: trace.FollowProcesses, Isolation: true}, out.onBreak())
	defer o.Close()
	o.out, o.tape = out, out.record
	if job.Hold != nil {
		if err := o.holdForRun(*job.Hold); err != nil {
			return task.Verdict{}, err
		}
	}
	t, err := o.startTask(job)
	if err != nil {
		return task.Verdict{}, err
	}
	return o.followTask(&t)
}

func (o *Observation) startTask(job Job) (Task, error) {
	if job.Command == nil {
		return StartLoop(o.cfg.Target, loop.Config{
			CPUs: o.cfg.Target.CPUs, Counter: noise.CPUCounter(), Threshold: loop.Threshold, Yields: emulator.Found(o.cfg.Files),
		}, nil)
	}
	command := *job.Command
	o.isolable, o.settle = job.Isolable, job.Settle
	if command.Isolable = o.observer != nil; !command.Isolable {
		o.notIsolable("kernel entries cannot be seen")
	}
	return startCommand(command)
}
