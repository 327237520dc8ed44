// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

// lock waits until no other process uses the store, or ctx ends.
func (d journals) lock(ctx context.Context) (unlock func(), err error) {
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory for journals: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(d.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the journals: %w", err)
	}
	if err := waitForLock(ctx, f); err != nil {
		return nil, errors.Join(fmt.Errorf("locking the journals in %s: %w", d.dir, err), f.Close())
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

// names returns the partitions that have a journal, sorted.
func (d journals) names() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
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

// journals is a directory of them. One process at a time changes it.
type journals struct{ dir string }

const journalSuffix = ".journal"

func (d journals) path(name string) string { return filepath.Join(d.dir, name+journalSuffix) }

// load reads the journal of a partition. A name that was never given, or not a
// name at all, is an error that matches [fs.ErrNotExist].
func (d journals) load(name string) (*journal, error) {
	if !nameForm.MatchString(name) {
		return nil, fmt.Errorf("partition %q: %w", name, ErrNoPartition)
	}
	text, err := os.ReadFile(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("partition %q: %w", name, ErrNoPartition)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the journal of partition %s: %w", name, err)
	}
	j, err := parseJournal(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", d.path(name), err)
	}
	return j, nil
}

// reopen makes a complete journal an incomplete one.
func (d journals) reopen(j *journal) error {
	f, err := os.OpenFile(d.path(j.Name), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("opening the journal: %w", err)
	}
	err = f.Truncate(j.size)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("marking the journal: %w", err)
	}
	return nil
}

// drop removes a journal.
func (d journals) drop(name string) error {
	if err := os.Remove(d.path(name)); err != nil {
		return fmt.Errorf("removing the journal of partition %s: %w", name, err)
	}
	return nil
}

// held reports whether the process that made a temporary partition still runs: its
// lock goes with it.
func (d journals) held(name string) bool {
	f, err := os.Open(d.path(name))
	if err != nil {
		return !errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// others are the partitions there are, by name.
type others map[string]*journal

func (d journals) others() (others, error) {
	names, err := d.names()
	if err != nil {
		return nil, err
	}
	all := others{}
	for _, name := range names {
		j, err := d.load(name)
		if errors.Is(err, errNoHeader) {
			j, err = &journal{}, nil
		}
		if err != nil {
			return nil, err
		}
		all[name] = j
	}
	return all, nil
}

// checkNameFree refuses a name that another partition has.
func (o others) checkNameFree(name string) error {
	if name == "" {
		name = defaultName
	}
	if o[name] != nil {
		return fmt.Errorf("partition %s: %w: undo it first, or choose another name", name, ErrExists)
	}
	return nil
}

// checkNoOverlap refuses CPUs that another partition has.
func (o others) checkNoOverlap(cpus cpulist.Set) error {
	for name, j := range o {
		if both := j.CPUs.Intersect(cpus); !both.IsEmpty() {
			return fmt.Errorf("CPU %v: %w: %s", both, ErrOverlap, name)
		}
	}
	return nil
}

func (o others) cpus() cpulist.Set {
	var all cpulist.Set
	for _, j := range o {
		all = all.Union(j.CPUs)
	}
	return all
}

// later returns a partition that was made later and changed again what c had.
func (o others) later(name string, c change.Change) string {
	for other, j := range o {
		for _, d := range j.changes {
			if other != name && d.Follows(c) {
				return other
			}
		}
	}
	return ""
}
