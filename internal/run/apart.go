// SPDX-License-Identifier: Apache-2.0

package run

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"

	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/printable"
)

// Apart is a run on CPUs that are set apart for it.
type Apart struct {
	Spec    partition.Spec // except for its CPUs
	Target  place.Target
	Command *launch.Command // nil for the busy loop
	Stderr  io.Writer
}

// InPartition calls do with the CPUs set apart, and puts everything back after. undo is the error of the latter.
func InPartition(ctx context.Context, s *partition.Store, a Apart, do func() error) (ran, undo error) {
	spec := a.Spec
	spec.CPUs = a.Target.CPUs.String()
	if spec.Name == "" {
		spec.Name = fmt.Sprintf("run-%d", os.Getpid())
	}
	if a.Command == nil {
		spec.Partition = partition.None
	}
	made, err := s.CreateTemporary(ctx, spec)
	if err != nil {
		return err, nil
	}
	for _, e := range made.Missed {
		fmt.Fprint(a.Stderr, printable.Line("taskiso: partition: no effect: %s: %s", e.Setting, e.Reason))
	}
	if a.Command != nil {
		a.Command.Cgroup = cmp.Or(made.Cgroup(), a.Target.Home)
	}
	ran = context.Cause(ctx) // a signal that came before the run had its own handler
	if ran == nil {
		ran = do()
	}
	return ran, made.Undo()
}
