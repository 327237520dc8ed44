// SPDX-License-Identifier: Apache-2.0

package partition

import (
	"slices"
	"strconv"

	"github.com/taskiso/taskiso/internal/partition/change"
	"github.com/taskiso/taskiso/internal/partition/thread"
)

// kernelThreadMaker is kthreadd, from which kernels since 6.14 let each new kernel thread have its affinity, unless
// nohz_full= has kept some CPUs free of them (kthread_affine_node, housekeeping_affine).
const kernelThreadMaker = "/proc/2/task/2"

// newest returns when the latest of the threads began that the partition has moved: the others of a later start began since.
func (j *journal) newest() (latest uint64) {
	for _, c := range j.changes {
		if start, err := strconv.ParseUint(c.Start, 10, 64); err == nil {
			latest = max(latest, start)
		}
	}
	return latest
}

// inherited returns the kernel threads that began since the partition was made, and have the affinity that it gave to
// kthreadd: khugepaged is one, which ends and begins again with the setting of huge pages. Programs that began since are
// left as they are: somebody may have chosen their CPUs.
func (s *Store) inherited(j *journal) ([]change.Change, error) {
	i := slices.IndexFunc(j.changes, func(c change.Change) bool { return c.Path == kernelThreadMaker && c.From != c.To })
	if i < 0 {
		return nil, nil
	}
	running, err := thread.All(s.view)
	if err != nil {
		return nil, err
	}
	maker, newest := j.changes[i], j.newest()
	var list []change.Change
	for _, t := range running {
		start, err := strconv.ParseUint(t.Start, 10, 64)
		known := slices.ContainsFunc(j.changes, func(c change.Change) bool { return c.Path == t.Dir && thread.Same(c.Start, t.Start) })
		if err != nil || known || !t.IsKernel() || !t.Movable() || start <= newest || t.Allowed.String() != maker.To {
			continue
		}
		list = append(list, change.Change{Path: t.Dir, From: maker.From, To: maker.To, Kind: change.Affinity{}, Start: t.Start})
	}
	return list, nil
}
