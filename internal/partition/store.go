// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/taskiso/taskiso/internal/partition/change"
	"golang.org/x/sys/unix"
)

// Errors of a [Store]. Test for them with [errors.Is].
var (
	ErrNoPartition = errors.New("no such partition")
	ErrExists      = errors.New("there is a partition of that name")
	ErrOverlap     = errors.New("another partition has these CPUs")
	ErrForeign     = change.ErrForeign
	ErrBooted      = errors.New("the machine was booted since, which undid it")
	ErrBusy        = change.ErrBusy
	ErrLater       = errors.New("a partition that was made later has changed this again")
	ErrIncomplete  = errors.New("making or undoing it was interrupted")
)

// Store makes partitions and remembers them in a directory of journals. One
// process at a time uses a directory; others wait for it.
type Store struct {
	dir   string
	files change.Files
	view  fs.FS // of the same machine
	// create makes the file of a journal.
	create func(path string) (syncedFile, error)
}

// NewStore returns the store with its journals in dir, which is made when the
// first one is. files and view are the same machine. To change settings takes root.
func NewStore(dir string, files change.Files, view fs.FS) *Store {
	create := func(path string) (syncedFile, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	return &Store{dir: dir, files: files, view: view, create: create}
}

// lock waits until no other process uses the store, or ctx ends.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory for journals: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the journals: %w", err)
	}
	if err := waitForLock(ctx, f); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the journals in %s: %w", s.dir, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// waitForLock polls, because a signal could not end a system call that waits:
// Go's handlers restart it.
func waitForLock(ctx context.Context, f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
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
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
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
	Plan    *Plan    `json:"plan"`
	Refused []Drift  `json:"refused,omitempty"` // what the kernel would not have
	Missed  []Effect `json:"no_effect,omitempty"`
}

// OK tells whether all has its effect, or will have it by itself.
func (c *Created) OK() bool { return !lacking(c.Missed) }

// kind is that of the cpuset partition that was made, if one was.
func (c *Created) kind() string {
	for _, d := range c.Refused {
		if path.Base(d.Path) == partitionFile {
			return None
		}
	}
	return c.Plan.kind()
}

// Create plans spec and makes the changes, each after it is in the journal, and
// reads each value back. If one fails, or ctx ends, all before it are undone. A
// process that dies in between leaves the journal for [Store.Recover].
func (s *Store) Create(ctx context.Context, spec Spec) (*Created, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.createLocked(ctx, spec, header{})
}

// createLocked makes a partition; kind is what its header has besides the plan.
func (s *Store) createLocked(ctx context.Context, spec Spec, kind header) (*Created, error) {
	plan, err := s.planBesideOthers(spec)
	if err != nil {
		return nil, err
	}
	if err := plan.writable(); err != nil {
		return nil, fmt.Errorf("creating partition %s: %w", plan.Name, err)
	}
	f, err := s.begin(spec, plan, kind)
	if err != nil {
		return nil, err
	}
	created := &Created{Plan: plan}
	created.Refused, err = s.applyAll(ctx, f, plan.All())
	if err == nil {
		err = s.applyLateTasks(ctx, f, spec, plan)
	}
	if err == nil {
		err = s.keepAffinities(plan.CPUs, plan.All())
	}
	if err == nil {
		err = appendJSON(f, line{Complete: true})
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		created.Missed = s.waitForEffect(ctx, plan.CPUs, created.kind(), plan.All())
		return created, nil
	}
	err = fmt.Errorf("creating partition %s: %w", plan.Name, err)
	if undo := s.undo(plan.Name, false); undo != nil {
		return nil, errors.Join(err, fmt.Errorf("and then, undoing it: %w; see \"taskiso partition recover\"", undo))
	}
	return nil, err
}

// planBesideOthers plans a partition that takes nothing from others, with what
// only a machine that runs has: threads, and programs that will interfere.
func (s *Store) planBesideOthers(spec Spec) (*Plan, error) {
	others, err := s.others()
	if err != nil {
		return nil, err
	}
	if err := others.lack(spec.Name); err != nil {
		return nil, err
	}
	plan, err := newBeside(spec, s.view, others.cpus())
	if err != nil {
		return nil, err
	}
	if err := others.spare(plan.CPUs); err != nil {
		return nil, err
	}
	if err := plan.spareOwners(s.view); err != nil {
		return nil, err
	}
	plan.addBalancers(s.files, s.view)
	plan.Warnings = append(plan.Warnings, rivals(s.view, plan)...)
	return plan, plan.addTasks(s.view, spec, plan.kind())
}

// applyLateTasks moves threads that were forked by others before those were
// moved, and those that the kernel leaves where they are in spite of a cpuset.
func (s *Store) applyLateTasks(ctx context.Context, f syncedFile, spec Spec, plan *Plan) error {
	const rounds = 10 // each finds only children of the one before
	for range rounds {
		late := Plan{CPUs: plan.CPUs}
		if err := late.addTasks(s.view, spec, None); err != nil {
			return err
		}
		if len(late.All()) == 0 {
			return nil
		}
		if _, err := s.applyAll(ctx, f, late.All()); err != nil {
			return err
		}
		plan.Settings = append(plan.Settings, late.Settings...)
	}
	return nil // what is left is found by verifying the effect
}

// begin makes a journal with its header.
func (s *Store) begin(spec Spec, plan *Plan, h header) (syncedFile, error) {
	boot, err := s.bootID()
	if err != nil {
		return nil, err
	}
	f, err := s.create(s.path(plan.Name))
	if err != nil {
		return nil, fmt.Errorf("beginning the journal: %w", err)
	}
	h.Schema, h.BootID, h.Name, h.CPUs, h.Partition, h.Spec = 1, boot, plan.Name, plan.CPUs, plan.kind(), spec
	if err := appendJSON(f, h); err != nil {
		return nil, errors.Join(fmt.Errorf("beginning the journal; nothing was changed: %w", err), f.Close(), s.drop(plan.Name))
	}
	return f, nil
}

func (s *Store) applyAll(ctx context.Context, f syncedFile, changes []change.Change) (refused []Drift, err error) {
	for _, c := range changes {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !insideNew(changes, c) {
			if ready, err := c.Ready(s.files); err != nil {
				return nil, err
			} else if !ready {
				continue
			}
		}
		if err := appendJSON(f, line{Change: &c}); err != nil {
			return nil, fmt.Errorf("writing the journal: %w", err)
		}
		err := c.Apply(s.files)
		if c.Refused(err) {
			refused = append(refused, drift(c, c.From))
			err = appendJSON(f, line{Refused: true})
		}
		if err != nil {
			return nil, err
		}
	}
	return refused, nil
}

// insideNew tells whether c is in a directory that the changes make.
func insideNew(changes []change.Change, c change.Change) bool {
	return slices.ContainsFunc(changes, func(d change.Change) bool {
		return filepath.Dir(c.Path) == d.Directory()
	})
}

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
	return errors.Join(errs...)
}

// toRestore returns what has to be written, in the order to do it. A file that
// is gone, as with a device or a CPU, has nothing to restore.
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

// Recover undoes what was interrupted, or was made for a run that is over, and
// forgets what ended with an earlier boot. Other partitions it leaves alone. It
// returns the names of those that are gone now.
func (s *Store) Recover(ctx context.Context, force bool) ([]string, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	gone := []string{}
	var errs []error
	for _, name := range names {
		j, err := s.load(name)
		if state := s.state(j); err == nil && (state == Complete || state == InRun) {
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

// Files is where changes are made, and Machine is those of this machine.
type (
	Files   = change.Files
	Machine = change.Machine
)
