// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"io/fs"
	"path"
	"slices"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/topology"
)

// tasksSetting is the name of the setting of threads, which is completed when a
// partition is made: which threads there are is nothing to plan for.
const tasksSetting = "tasks"

func planTasks(h *host) (found, error) {
	f := found{later: true}
	if !h.hasCpuset() {
		f.note("the affinity of the threads that run when it is made is changed one by one")
	} else {
		f.note("the cpuset moves threads; the affinity of those that have one is kept for undo, as some kernels forget it")
	}
	return f, nil
}

// addTasks adds the changes of the threads that run now. Those that a cpuset
// moves are only noted, to be restored, where they have an affinity of their own.
func (p *Plan) addTasks(files fs.FS, spec Spec, kind string) error {
	if slices.Contains(spec.Skip, tasksSetting) {
		return nil
	}
	online, err := topology.Online(files)
	if err != nil {
		return err
	}
	running, err := thread.All(files)
	if err != nil {
		return err
	}
	var changes []change.Change
	for _, t := range running {
		c := change.OfThread(t, t.Allowed)
		switch {
		case !t.Movable():
			continue
		case kind != None:
			if online.IsSubsetOf(t.Allowed) {
				continue
			}
		case t.Allowed.Intersect(p.CPUs).IsEmpty() || t.Allowed.IsSubsetOf(p.CPUs):
			continue // its owner wants it there: it is shown as without effect
		default:
			c.To = t.Allowed.Minus(p.CPUs).String()
		}
		changes = append(changes, c)
	}
	if s := p.setting(tasksSetting); s != nil {
		s.Changes, s.State = changes, Changes
		return nil
	}
	p.Settings = append(p.Settings, Setting{Name: tasksSetting, State: Changes, Changes: changes})
	return nil
}

// keepAffinities gives threads back the CPUs that they had asked for, of those that
// are left to them: before 6.2 a change of cpusets makes the kernel forget that. One
// that asked for others meanwhile is left alone.
func (s *Store) keepAffinities(cpus cpulist.Set, changes []change.Change) error {
	for _, c := range changes {
		want := c.Kept(cpus)
		if want.IsEmpty() {
			continue
		}
		t := thread.Thread{Dir: c.Path, Allowed: s.affinityOf(c)}
		if t.Allowed.IsEmpty() || t.Allowed == want || t.Allowed != s.cpusetOf(t) {
			continue // it has ended, or has what it wants
		}
		if err := c.SetAffinity(s.files, want.String()); err != nil {
			return err
		}
	}
	return nil
}

// affinityOf returns the CPUs of the thread of a change, none if it has ended.
func (s *Store) affinityOf(c change.Change) cpulist.Set {
	text, err := c.Read(s.files)
	if err != nil {
		return cpulist.Set{}
	}
	set, _ := cpulist.ParseSysfs(text) // which comes of a set
	return set
}

// wishes returns the threads that were given an affinity of their own since the
// partition was made: when it is undone, some kernels forget that.
func (s *Store) wishes(j *journal) ([]change.Change, error) {
	if j.Partition == None {
		return nil, nil
	}
	online, err := topology.Online(s.view)
	if err != nil {
		return nil, err
	}
	running, err := thread.All(s.view)
	if err != nil {
		return nil, err
	}
	var list []change.Change
	for _, t := range running {
		c := change.OfThread(t, t.Allowed)
		known := slices.ContainsFunc(j.changes, func(k change.Change) bool {
			return k.Path == c.Path && k.Start == c.Start && s.isOurs(j, k, c.From)
		})
		own := t.Movable() && t.Allowed != online && t.Allowed.Intersect(j.CPUs).IsEmpty()
		if own && !known && t.Allowed != s.cpusetOf(t) {
			list = append(list, c)
		}
	}
	return list, nil
}

// cpusetOf returns the CPUs that the cpuset of a thread allows: what a thread has
// that nobody has given an affinity.
func (s *Store) cpusetOf(t thread.Thread) cpulist.Set {
	text, err := s.files.Read(t.Dir + "/cgroup")
	if err != nil {
		return cpulist.Set{}
	}
	dir := cgroupOf(text)
	for {
		effective := s.masked(dir+"/cpuset.cpus.effective", cpulist.ParseSysfs)
		if !effective.IsEmpty() || dir == cgroupRoot {
			return effective
		}
		dir = path.Dir(dir) // a cgroup without the controller has its parent's
	}
}

// cgroupOf returns the directory of the cgroup that a file of procfs names.
func cgroupOf(text string) string {
	dir, unified := proc.Cgroup(text)
	if !unified {
		return cgroupRoot
	}
	return path.Join(cgroupRoot, path.Clean("/"+dir))
}

// isOurs tells whether a thread has the affinity that the partition, or the
// kernel because of it, gave it.
func (s *Store) isOurs(j *journal, c change.Change, got string) bool {
	online, err := topology.Online(s.view)
	return err == nil && c.GaveThread(got, j.CPUs, online)
}
