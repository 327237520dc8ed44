// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"errors"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/partition/change"
)

// Condition is how a partition is.
type Condition string

// Conditions of partitions.
const (
	Complete    Condition = "complete"
	Interrupted Condition = "interrupted" // making or undoing it was
	InRun       Condition = "in a run"    // until the process ends that made it
	LeftBehind  Condition = "left behind" // by such a process
	EarlierBoot Condition = "earlier boot"
	Unreadable  Condition = "unreadable"
)

// Summary is one partition in a list.
type Summary struct {
	Name      string      `json:"name"`
	CPUs      cpulist.Set `json:"cpus"`
	Condition Condition   `json:"condition"`
	Changes   int         `json:"changes"` // made, or begun
}

// Record is all that is known of a partition.
type Record struct {
	Schema  int             `json:"schema"`
	Summary                 //
	Spec    Spec            `json:"spec"`
	Refused []string        `json:"refused,omitempty"` // files that the kernel would not have changed
	Made    []change.Change `json:"made"`
	Cgroup  string          `json:"cgroup,omitempty"` // where its tasks run
}

// List returns all partitions that have a journal, by name. It waits for nobody.
func (s *Store) List() ([]Summary, error) {
	names, err := s.names()
	if err != nil {
		return nil, err
	}
	list := []Summary{}
	for _, name := range names {
		j, err := s.load(name)
		switch {
		case errors.Is(err, ErrNoPartition):
			continue // undone meanwhile
		case errors.Is(err, errNoHeader):
			list = append(list, Summary{Name: name, Condition: Interrupted})
		case err != nil:
			list = append(list, Summary{Name: name, Condition: Unreadable})
		default:
			list = append(list, s.summary(j))
		}
	}
	return list, nil
}

// Show returns what is known of one partition.
func (s *Store) Show(name string) (*Record, error) {
	j, err := s.load(name)
	if err != nil {
		return nil, err
	}
	return &Record{Schema: 1, Summary: s.summary(j), Spec: j.Spec, Refused: j.refused, Made: j.changes, Cgroup: cgroupOfChanges(j.changes)}, nil
}

func (s *Store) summary(j *journal) Summary {
	return Summary{Name: j.Name, CPUs: j.CPUs, Condition: s.state(j), Changes: len(j.changes)}
}

func (s *Store) state(j *journal) Condition {
	switch {
	case j == nil:
		return Unreadable
	case !s.sameBoot(j):
		return EarlierBoot
	case j.Temporary && s.held(j.Name):
		return InRun
	case !j.complete:
		return Interrupted
	case j.Temporary:
		return LeftBehind
	default:
		return Complete
	}
}
