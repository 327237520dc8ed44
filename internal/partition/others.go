// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"
	"fmt"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

// others are the partitions there are, by name.
type others map[string]*journal

func (s *Store) others() (others, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	all := others{}
	for _, name := range names {
		j, err := s.load(name)
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

// lack refuses a name that another partition has.
func (o others) lack(name string) error {
	if name == "" {
		name = defaultName
	}
	if o[name] != nil {
		return fmt.Errorf("partition %s: %w: undo it first, or choose another name", name, ErrExists)
	}
	return nil
}

// spare refuses CPUs that another partition has.
func (o others) spare(cpus cpulist.Set) error {
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
