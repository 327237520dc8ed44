// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/topology"
)

// Bits of a task's flags, from include/linux/sched.h.
const (
	pfNoSetAffinity = 0x04000000
	pfKthread       = 0x00200000
)

// thread is one that runs.
type thread struct {
	dir     string // "/proc/12/task/13"
	name    string
	allowed cpulist.Set
	flags   uint64
	start   string
}

// movable tells whether its affinity can be set. That of other threads is the
// kernel's own business: those of one CPU, and workers.
func (t thread) movable() bool { return t.flags&pfNoSetAffinity == 0 }

// threads returns all that run. Those that end meanwhile are left out.
func threads(files fs.FS) ([]thread, error) {
	processes, err := proc.Processes(files)
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var all []thread
	for _, pid := range processes {
		tids, err := proc.Threads(files, pid)
		if err != nil {
			continue
		}
		for _, tid := range tids {
			if t, err := readThread(files, proc.Thread(pid, tid)); err == nil {
				all = append(all, t)
			}
		}
	}
	return all, nil
}

func readThread(files fs.FS, dir string) (thread, error) {
	status, err := fs.ReadFile(files, dir+"/status")
	if err != nil {
		return thread{}, err
	}
	stat, err := fs.ReadFile(files, dir+"/stat")
	if err != nil {
		return thread{}, err
	}
	return parseThread("/"+dir, string(status), string(stat))
}

func parseThread(dir, status, stat string) (thread, error) {
	shown, err := proc.ParseStat(stat)
	if err != nil {
		return thread{}, fmt.Errorf("reading %s: %w", dir, err)
	}
	text := proc.Status(status)
	allowed, err := cpulist.ParseSysfs(text.Value("Cpus_allowed_list"))
	if err != nil || allowed.IsEmpty() {
		return thread{}, errors.Join(fmt.Errorf("reading %s: no CPUs in status", dir), err)
	}
	return thread{dir: dir, name: printable.Text(text.Value("Name")), allowed: allowed, flags: shown.Flags, start: shown.Start}, nil
}

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
	running, err := threads(files)
	if err != nil {
		return err
	}
	var changes []Change
	for _, t := range running {
		c := Change{Path: t.dir, From: t.allowed.String(), To: t.allowed.String(), Form: Affinity, Start: t.start}
		switch {
		case !t.movable():
			continue
		case kind != None:
			if online.IsSubsetOf(t.allowed) {
				continue
			}
		case t.allowed.Intersect(p.CPUs).IsEmpty() || t.allowed.IsSubsetOf(p.CPUs):
			continue // its owner wants it there: it is shown as without effect
		default:
			c.To = t.allowed.Minus(p.CPUs).String()
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

// readAffinity returns the CPUs of a thread. One of another start has only its
// number.
func readAffinity(files Files, dir, start string) (string, error) {
	status, err := files.Read(dir + "/status")
	if err != nil {
		return "", gone(err)
	}
	stat, err := files.Read(dir + "/stat")
	if err != nil {
		return "", gone(err)
	}
	t, err := parseThread(dir, status, stat)
	if err != nil {
		return "", err
	}
	if t.start != start {
		return "", fmt.Errorf("thread %s: %w: the number has been given anew", dir, fs.ErrNotExist)
	}
	return t.allowed.String(), nil
}

// gone makes what is said of a thread that ends while it is looked at the same
// as that it is not there.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return err
}

// applyAffinity notes a thread, and moves it if it is to be moved. That one has
// ended or been moved meanwhile is no error.
func (s *Store) applyAffinity(f syncedFile, c Change) error {
	if got, err := readAffinity(s.files, c.Path, c.Start); err != nil || !c.Form.same(got, c.From) {
		return notGone(err)
	}
	if err := appendJSON(f, line{Change: &c}); err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	if c.From == c.To {
		return nil
	}
	return c.setAffinity(s.files, c.To)
}

// keepAffinities gives threads back the CPUs that they had asked for, of those that
// are left to them: before 6.2 a change of cpusets makes the kernel forget that. One
// that asked for others meanwhile is left alone.
func (s *Store) keepAffinities(cpus cpulist.Set, changes []Change) error {
	for _, c := range changes {
		want := c.kept(cpus)
		if want.IsEmpty() {
			continue
		}
		t := thread{dir: c.Path, allowed: s.affinityOf(c)}
		if t.allowed.IsEmpty() || t.allowed == want || t.allowed != s.cpusetOf(t) {
			continue // it has ended, or has what it wants
		}
		if err := c.setAffinity(s.files, want.String()); err != nil {
			return err
		}
	}
	return nil
}

// affinityOf returns the CPUs of the thread of a change, none if it has ended.
func (s *Store) affinityOf(c Change) cpulist.Set {
	text, err := readAffinity(s.files, c.Path, c.Start)
	if err != nil {
		return cpulist.Set{}
	}
	set, _ := cpulist.ParseSysfs(text) // which comes of a set
	return set
}

func notGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (c Change) setAffinity(files Files, list string) error {
	cpus, err := cpulist.ParseSysfs(list)
	if err != nil {
		return err
	}
	err = gone(files.SetAffinity(c.Path, cpus))
	if errors.Is(err, unix.EINVAL) {
		return nil // the cpuset it is in now allows it none of these
	}
	return notGone(err)
}

func (c Change) restoreAffinity(files Files) error {
	got, err := readAffinity(files, c.Path, c.Start)
	if err != nil || c.Form.same(got, c.From) {
		return notGone(err)
	}
	return c.setAffinity(files, c.From)
}

// wishes returns the threads that were given an affinity of their own since the
// partition was made: when it is undone, some kernels forget that.
func (s *Store) wishes(j *journal) ([]Change, error) {
	if j.Partition == None {
		return nil, nil
	}
	online, err := topology.Online(s.view)
	if err != nil {
		return nil, err
	}
	running, err := threads(s.view)
	if err != nil {
		return nil, err
	}
	var list []Change
	for _, t := range running {
		c := Change{Path: t.dir, From: t.allowed.String(), Form: Affinity, Start: t.start}
		known := slices.ContainsFunc(j.changes, func(k Change) bool {
			return k.Path == c.Path && k.Start == c.Start && s.isOurs(j, k, c.From)
		})
		own := t.movable() && t.allowed != online && t.allowed.Intersect(j.CPUs).IsEmpty()
		if own && !known && t.allowed != s.cpusetOf(t) {
			list = append(list, c)
		}
	}
	return list, nil
}

// cpusetOf returns the CPUs that the cpuset of a thread allows: what a thread has
// that nobody has given an affinity.
func (s *Store) cpusetOf(t thread) cpulist.Set {
	text, err := s.files.Read(t.dir + "/cgroup")
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
// kernel because of it, gave it. What somebody else gave it since is left alone.
// The kernel gives a thread all CPUs when a cpuset partition is undone.
func (s *Store) isOurs(j *journal, c Change, got string) bool {
	now, err := cpulist.ParseSysfs(got)
	if err != nil {
		return false
	}
	from, err := cpulist.ParseSysfs(c.From)
	if err != nil {
		return false
	}
	online, err := topology.Online(s.view)
	if err != nil {
		return false
	}
	if c.From != c.To {
		return c.Form.same(got, c.To)
	}
	return slices.Contains([]cpulist.Set{from, from.Minus(j.CPUs), online.Minus(j.CPUs), online}, now)
}
