// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/taskiso/taskiso/cpulist"
)

// Verification is what became of a partition.
type Verification struct {
	Schema int         `json:"schema"`
	Name   string      `json:"name"`
	CPUs   cpulist.Set `json:"cpus"`
	Held   int         `json:"held"`    // settings that are what they were made
	Drifts []Drift     `json:"changed"` // those that are not
	Missed []Effect    `json:"no_effect"`
}

// OK reports whether everything is as it was made, and does what it is for, or will by
// itself.
func (v *Verification) OK() bool { return len(v.Drifts) == 0 && !lacking(v.Missed) }

// Verify compares the settings of a partition with the values that it wrote, and
// checks whether they have their effect.
func (s *Store) Verify(ctx context.Context, name string) (*Verification, error) {
	unlock, err := s.lock(ctx)
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
	v := &Verification{Schema: 1, Name: name, CPUs: j.CPUs, Drifts: []Drift{}}
	for _, c := range j.changes {
		if slices.Contains(j.refused, c.Path) || c.IsOfThread() {
			continue // reported when it was created; judged by its effect
		}
		got, err := c.Read(s.files)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil && (c.Holds(got) || j.leftToBalancer(c, got)) {
			v.Held++
			continue
		}
		v.Drifts = append(v.Drifts, drift(c, got))
	}
	suspect(s.view, v.Drifts)
	v.Missed = s.waitForEffect(ctx, j.CPUs, j.Partition, j.changes)
	return v, nil
}
