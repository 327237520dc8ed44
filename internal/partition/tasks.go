// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"slices"

	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
	"github.com/taskiso/taskiso/internal/topology"
)

func tasksKnob() knob {
	return knob{
		name:   tasksSetting,
		why:    "threads run on any CPU of their affinity",
		source: "Documentation/admin-guide/cgroup-v2.rst: cpuset.cpus, kernel/cgroup/cpuset.c: cpuset_update_tasks_cpumask",
		plan:   planTasks,
		rate:   rate{perHour: 8000, text: "whenever other CPUs are busy"},
		finish: finishTasks,
	}
}

func planTasks(h *host) (found, error) {
	f := found{later: true}
	if !makesCpuset(h) {
		f.note("the affinity of the threads that run when it is made is changed one by one")
	} else {
		f.note("the cpuset moves threads; the affinity of those that have one is kept for undo, as some kernels forget it")
	}
	return f, nil
}

// finishTasks adds the changes of the threads that run now.
func finishTasks(s *Setting, on running) error {
	if slices.Contains(on.spec.Skip, tasksSetting) {
		return nil
	}
	changes, err := threadChanges(on)
	if err != nil {
		return err
	}
	s.Changes, s.State = changes, Changes
	return nil
}

// threadChanges returns the changes of the threads that run now. Those that a cpuset
// moves are only noted, to be restored, where they have an affinity of their own.
func threadChanges(on running) ([]change.Change, error) {
	online, err := topology.Online(on.view)
	if err != nil {
		return nil, err
	}
	all, err := thread.All(on.view)
	if err != nil {
		return nil, err
	}
	var changes []change.Change
	for _, t := range all {
		to := t.Allowed
		switch {
		case !t.Movable():
			continue
		case on.kind != None:
			if online.IsSubsetOf(t.Allowed) {
				continue
			}
		case t.Allowed.Intersect(on.cpus).IsEmpty() || t.Allowed.IsSubsetOf(on.cpus):
			continue // its owner wants it there: it is shown as without effect
		default:
			to = t.Allowed.Minus(on.cpus)
		}
		changes = append(changes, change.OfThread(t, to))
	}
	return changes, nil
}
