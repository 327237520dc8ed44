// SPDX-License-Identifier: Apache-2.0

package run

import (
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/report"
)

// Task is what is observed and ours: a command, or the busy loop.
type Task struct {
	Describe report.Task
	Process  *launch.Process
	Loop     *loop.Output // nil for a command
	Isolable bool         // its calls for isolation can be answered
}

// command returns the process that signals are passed on to, nil if there is none.
func (t *Task) command() *launch.Process {
	if t == nil || t.Loop != nil {
		return nil
	}
	return t.Process
}

func startCommand(c launch.Command) (Task, error) {
	process, err := launch.Start(c)
	if err != nil {
		return Task{}, err
	}
	return Task{
		Describe: report.Task{Kind: "command", Command: c.Args, PID: process.PID()},
		Process:  process,
		Isolable: c.Isolable,
	}, nil
}

// StartLoop starts the busy loop, with shared for its records, or nil. It waits for Release.
func StartLoop(t place.Target, cfg loop.Config, shared *noise.Shared) (Task, error) {
	process, out, err := loop.Start(cfg, loop.Place{CPUs: t.ForRuntime(), Cgroup: t.Cgroup(), Shared: shared})
	if err != nil {
		return Task{}, err
	}
	return Task{Describe: report.Task{Kind: kindLoop, PID: process.PID()}, Process: process, Loop: out}, nil
}
