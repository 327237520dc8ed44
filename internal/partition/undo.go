// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
	"github.com/taskiso/taskiso/internal/topology"
)

// Undo restores the values that were there before, the last one first. If one
// is no longer what the partition made it, nothing is changed and the error
// matches [ErrForeign], unless force is set. An undo that was interrupted can be
// done again. The end of ctx ends waiting for another process, but no undo.
func (s *Store) Undo(ctx context.Context, name string, force bool) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return s.undo(name, force)
}

func (s *Store) undo(name string, force bool) error {
	j, err := s.load(name)
	if errors.Is(err, errNoHeader) {
		return s.drop(name)
	}
	if err != nil {
		return err
	}
	if boot, err := s.bootID(); err != nil {
		return err
	} else if boot != j.BootID {
		return errors.Join(fmt.Errorf("partition %s: %w", name, ErrBooted), s.drop(name))
	}
	todo, err := s.toRestore(j, force)
	if err != nil {
		return fmt.Errorf("undoing partition %s, nothing was changed: %w", name, err)
	}
	if err := s.reopen(j); err != nil {
		return fmt.Errorf("undoing partition %s, nothing was changed: %w", name, err)
	}
	if err := s.restoreAll(j, todo); err != nil {
		return fmt.Errorf("undoing partition %s; its journal is kept: %w", name, err)
	}
	return s.drop(name)
}

func (s *Store) restoreAll(j *journal, todo []change.Change) error {
	wishes, err := s.wishes(j)
	if err != nil {
		return err
	}
	if j.Temporary { // the kernel takes no CPUs from a cpuset with processes
		if err := s.evict(cgroupOfChanges(j.changes), j.Home); err != nil {
			return err
		}
	}
	var errs []error
	for _, c := range slices.Concat(todo, wishes) {
		errs = append(errs, c.Restore(s.files))
	}
	late, err := s.inherited(j) // also those that began because of the above
	errs = append(errs, err)
	for _, c := range late {
		errs = append(errs, c.Restore(s.files))
	}
	return errors.Join(errs...)
}

// toRestore returns the changes to write, in the order of writing. A file that is gone,
// for example with a device or a CPU, has nothing to restore.
func (s *Store) toRestore(j *journal, force bool) ([]change.Change, error) {
	var todo, threads []change.Change
	var foreign []string
	others, err := s.others()
	if err != nil {
		return nil, err
	}
	for i, c := range slices.Backward(j.changes) {
		got, err := c.Read(s.files)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := s.idle(j, c, got); err != nil {
			return nil, err
		}
		if c.IsOfThread() {
			if s.isOurs(j, c, got) {
				threads = append(threads, c)
			}
			continue
		}
		place := c.Place(got)
		if place == change.AsBefore && !c.IsDelegated() {
			continue
		}
		todo = append(todo, c)
		interrupted := !j.complete && i == len(j.changes)-1 // its value came of our own write
		if place != change.AsForeign || interrupted || j.leftToBalancer(c, got) {
			continue
		}
		if later := others.later(j.Name, c); later != "" {
			return nil, fmt.Errorf("%s: %w: %s, which is to be undone first", c.Path, ErrLater, later)
		}
		foreign = append(foreign, drift(c, got).String())
	}
	if len(foreign) > 0 && !force {
		return nil, fmt.Errorf("%w: %s; --force overwrites it", ErrForeign, strings.Join(foreign, "; "))
	}
	return append(todo, threads...), nil // a cpuset would cut what they are given
}

// idle refuses to take away a cgroup from processes, unless they were to have it
// for a time only.
func (s *Store) idle(j *journal, c change.Change, got string) error {
	if path.Dir(c.Directory()) != cgroupRoot || got == change.Absent || j.Temporary {
		return nil
	}
	text, err := s.files.Read(c.Path + "/cgroup.procs")
	if err != nil {
		return err
	}
	if processes := strings.Fields(text); len(processes) > 0 {
		return fmt.Errorf("%s: %w: %s; end them or move them to another cgroup", c.Path, ErrBusy, strings.Join(processes, ", "))
	}
	return nil
}

// evict moves the processes that are left in a cgroup to another one.
func (s *Store) evict(cgroup, home string) error {
	const rounds = 100 // processes fork meanwhile
	for range rounds {
		if cgroup == "" {
			return nil
		}
		text, err := s.files.Read(cgroup + "/cgroup.procs")
		if errors.Is(err, fs.ErrNotExist) || text == "" {
			return nil
		}
		if err != nil {
			return err
		}
		for _, pid := range strings.Fields(text) {
			err := s.files.Write(path.Join(home, "cgroup.procs"), pid)
			if errors.Is(err, fs.ErrNotExist) && home != cgroupRoot {
				home = cgroupRoot
				err = s.files.Write(path.Join(home, "cgroup.procs"), pid)
			}
			if err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return fmt.Errorf("%s: %w: they fork faster than they can be moved away", cgroup, ErrBusy)
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
			return k.Path == c.Path && thread.Same(k.Start, c.Start) && s.isOurs(j, k, c.From)
		})
		own := t.Movable() && t.Allowed != online && t.Allowed.Intersect(j.CPUs).IsEmpty()
		if own && !known && t.Allowed != s.cpusetOf(t) {
			list = append(list, c)
		}
	}
	return list, nil
}

// isOurs reports whether a thread has the affinity that the partition, or the
// kernel because of it, gave it.
func (s *Store) isOurs(j *journal, c change.Change, got string) bool {
	online, err := topology.Online(s.view)
	return err == nil && c.GaveThread(got, j.CPUs, online)
}
