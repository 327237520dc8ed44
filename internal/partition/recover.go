// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"context"
	"errors"
)

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
