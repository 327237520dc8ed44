// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// Temporary is a partition for as long as the process lives that made it. If
// that is killed, [Store.Recover] undoes it.
type Temporary struct {
	*Created
	store *Store
	lock  *os.File // on the journal
}

// CreateTemporary makes a partition as [Store.Create] does. Undo has to be called.
func (s *Store) CreateTemporary(ctx context.Context, spec Spec) (*Temporary, error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	created, err := s.createLocked(ctx, spec, header{Temporary: true, Home: ownCgroup(s.view)})
	if err != nil {
		return nil, err
	}
	// Recover cannot come in between: it needs the lock of the store.
	f, err := os.Open(s.path(created.Plan.Name))
	if err == nil {
		err = waitForLock(ctx, f) // somebody may be looking whether it is held
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the journal: %w", err), s.undo(created.Plan.Name, true))
	}
	return &Temporary{Created: created, store: s, lock: f}, nil
}

// Undo restores everything, also values that somebody else changed meanwhile, which the
// error then names. Tasks in its cgroup move to the cgroup of this process.
func (t *Temporary) Undo() error {
	defer t.lock.Close()
	name := t.Plan.Name
	err := t.store.Undo(context.Background(), name, false)
	if errors.Is(err, ErrForeign) {
		return errors.Join(err, t.store.Undo(context.Background(), name, true))
	}
	return err
}

// Cgroup returns the directory of the cgroup for its tasks, "" if it has none.
func (t *Temporary) Cgroup() string { return cgroupOfChanges(t.Plan.All()) }
