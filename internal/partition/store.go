// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
)

// Errors of a [Store]. Test for them with [errors.Is].
var (
	ErrNoPartition = errors.New("no such partition")
	ErrExists      = errors.New("there is a partition of that name")
	ErrOverlap     = errors.New("another partition has these CPUs")
	ErrForeign     = errors.New("somebody else changed settings since")
	ErrBooted      = errors.New("the machine was booted since, which undid it")
	ErrBusy        = errors.New("processes run in its cgroup")
	ErrIncomplete  = errors.New("making or undoing it was interrupted")
)

// Store makes partitions and remembers them in a directory of journals. One
// process at a time uses a directory; others wait for it.
type Store struct {
	dir   string
	files Files
	view  fs.FS // of the same machine
	// create makes the file of a journal.
	create func(path string) (syncedFile, error)
}

// NewStore returns the store with its journals in dir, which is made if need be.
// files and view are the same machine. To change settings takes root.
func NewStore(dir string, files Files, view fs.FS) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory for journals: %w", err)
	}
	create := func(path string) (syncedFile, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	return &Store{dir: dir, files: files, view: view, create: create}, nil
}

// lock waits until no other process uses the store.
func (s *Store) lock() (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the journals: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking the journals in %s: %w", s.dir, err), f.Close())
		}
	}
}

func (s *Store) bootID() (string, error) {
	text, err := fs.ReadFile(s.view, "proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("finding out which boot this is: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// names returns the partitions that have a journal, sorted.
func (s *Store) names() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listing journals: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if name, ok := strings.CutSuffix(entry.Name(), journalSuffix); ok {
			names = append(names, name)
		}
	}
	return names, nil
}

// Created is what [Store.Create] did.
type Created struct {
	Plan    *Plan   `json:"plan"`
	Refused []Drift `json:"refused,omitempty"` // what the kernel would not have
}

// Create plans spec and makes the changes, each after it is in the journal, and
// reads each value back. If one fails, all before it are undone. A process that
// dies in between leaves the journal for [Store.Recover].
func (s *Store) Create(spec Spec) (*Created, error) {
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	plan, err := New(spec, s.view)
	if err != nil {
		return nil, err
	}
	if err := s.free(plan.Name, plan.CPUs); err != nil {
		return nil, err
	}
	f, err := s.begin(spec, plan)
	if err != nil {
		return nil, err
	}
	created := &Created{Plan: plan}
	created.Refused, err = s.applyAll(f, plan.All())
	if err == nil {
		err = appendJSON(f, line{Complete: true})
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		return created, nil
	}
	err = fmt.Errorf("creating partition %s: %w", plan.Name, err)
	if undo := s.undo(plan.Name, false); undo != nil {
		return nil, errors.Join(err, fmt.Errorf("and then, undoing it: %w; see \"taskiso partition recover\"", undo))
	}
	return nil, err
}

// free refuses a name or CPUs that another partition has.
func (s *Store) free(name string, cpus cpulist.Set) error {
	names, err := s.names()
	if err != nil {
		return err
	}
	if slices.Contains(names, name) {
		return fmt.Errorf("partition %s: %w: undo it first, or choose another name", name, ErrExists)
	}
	for _, other := range names {
		j, err := s.load(other)
		if errors.Is(err, errNoHeader) {
			continue
		}
		if err != nil {
			return err
		}
		if both := j.CPUs.Intersect(cpus); !both.IsEmpty() {
			return fmt.Errorf("CPU %v: %w: %s", both, ErrOverlap, other)
		}
	}
	return nil
}

// begin makes a journal with its header.
func (s *Store) begin(spec Spec, plan *Plan) (syncedFile, error) {
	boot, err := s.bootID()
	if err != nil {
		return nil, err
	}
	f, err := s.create(s.path(plan.Name))
	if err != nil {
		return nil, fmt.Errorf("beginning the journal: %w", err)
	}
	if err := appendJSON(f, header{1, boot, plan.Name, plan.CPUs, spec}); err != nil {
		return nil, errors.Join(fmt.Errorf("beginning the journal; nothing was changed: %w", err), f.Close(), s.drop(plan.Name))
	}
	return f, nil
}

func (s *Store) applyAll(f syncedFile, changes []Change) (refused []Drift, err error) {
	for _, c := range changes {
		if c.Form != Directory && !insideNew(changes, c) {
			got, err := c.read(s.files)
			if err != nil {
				return nil, err
			}
			if c.placeOf(got) != asBefore {
				return nil, fmt.Errorf("%s: %w: %q when planned, now %q", c.Path, ErrForeign, c.From, got)
			}
		}
		if err := appendJSON(f, line{Change: &c}); err != nil {
			return nil, fmt.Errorf("writing the journal: %w", err)
		}
		err := c.apply(s.files)
		if c.refused(err) {
			refused = append(refused, Drift{c.Path, c.From, c.To, c.From})
			err = appendJSON(f, line{Refused: true})
		}
		if err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// insideNew tells whether c is in a directory that the changes make.
func insideNew(changes []Change, c Change) bool {
	return slices.ContainsFunc(changes, func(d Change) bool { return d.Form == Directory && filepath.Dir(c.Path) == d.Path })
}

// Undo restores the values that were there before, the last one first. If one
// is no longer what the partition made it, nothing is changed and the error
// matches [ErrForeign], unless force is set. An undo that was interrupted can be
// done again.
func (s *Store) Undo(name string, force bool) error {
	unlock, err := s.lock()
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
	var errs []error
	for _, c := range todo {
		errs = append(errs, c.restore(s.files))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("undoing partition %s; its journal is kept: %w", name, err)
	}
	return s.drop(name)
}

// toRestore returns what has to be written, in the order to do it. A file that
// is gone, as with a device or a CPU, has nothing to restore.
func (s *Store) toRestore(j *journal, force bool) ([]Change, error) {
	var todo []Change
	var foreign []string
	for i, c := range slices.Backward(j.changes) {
		got, err := c.read(s.files)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := s.idle(c, got); err != nil {
			return nil, err
		}
		place := c.placeOf(got)
		interrupted := !j.complete && i == len(j.changes)-1 // its value came of our own write
		if place == asForeign && !force && !interrupted {
			foreign = append(foreign, Drift{c.Path, c.From, c.To, got}.String())
		}
		if place != asBefore {
			todo = append(todo, c)
		}
	}
	if len(foreign) > 0 {
		return nil, fmt.Errorf("%w: %s; --force overwrites it", ErrForeign, strings.Join(foreign, "; "))
	}
	return todo, nil
}

// idle refuses to take away a cgroup from processes.
func (s *Store) idle(c Change, got string) error {
	if c.Form != Directory || got == dirAbsent {
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

// Recover undoes what was interrupted, and forgets what ended with an earlier
// boot. Partitions that are complete it leaves alone. It returns the names of
// those that are gone now.
func (s *Store) Recover(force bool) ([]string, error) {
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	var gone []string
	var errs []error
	for _, name := range names {
		j, err := s.load(name)
		if err == nil && j.complete && s.sameBoot(j) {
			continue
		}
		if err := s.undo(name, force); err != nil && !errors.Is(err, ErrBooted) {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, name)
	}
	return gone, errors.Join(errs...)
}

func (s *Store) sameBoot(j *journal) bool {
	boot, err := s.bootID()
	return err == nil && boot == j.BootID
}

// Verify returns the settings of a partition that are not what it made them.
func (s *Store) Verify(name string) ([]Drift, error) {
	unlock, err := s.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	j, err := s.load(name)
	if err != nil {
		return nil, err
	}
	if !s.sameBoot(j) {
		return nil, fmt.Errorf("partition %s: %w", name, ErrBooted)
	}
	if !j.complete {
		return nil, fmt.Errorf("partition %s: %w: see \"taskiso partition recover\"", name, ErrIncomplete)
	}
	var drifts []Drift
	for _, c := range j.changes {
		if slices.Contains(j.refused, c.Path) {
			continue // told when it was created
		}
		got, err := c.read(s.files)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil || !c.Form.same(got, c.To) {
			drifts = append(drifts, Drift{c.Path, c.From, c.To, got})
		}
	}
	return drifts, nil
}
