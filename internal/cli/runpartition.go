// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/place"
)

// specOfRun returns the spec of the partition, and takes the CPUs to observe from
// it if no option names them.
func specOfRun(file string, opts *options) (partition.Spec, error) {
	spec, err := readSpec(file)
	if err != nil {
		return spec, err
	}
	if !opts.cpusGiven && spec.CPUs != "" {
		opts.cpus, opts.cpusGiven = spec.CPUs, true
	}
	if opts.housekeeping == "" {
		opts.housekeeping = spec.Housekeeping
	}
	spec.Housekeeping = opts.housekeeping
	return spec, nil
}

// inPartition calls run with the CPUs set apart, and puts everything back after.
func (p *program) inPartition(spec partition.Spec, t place.Target, command *launch.Command, run func() error) error {
	spec.CPUs = t.CPUs.String()
	if spec.Name == "" {
		spec.Name = fmt.Sprintf("run-%d", os.Getpid())
	}
	if command == nil {
		spec.Partition = partition.None
	}
	return p.withStore(&machineOptions{}, true, func(ctx context.Context, s *partition.Store) error {
		made, err := s.CreateTemporary(ctx, spec)
		if err != nil {
			return err
		}
		for _, e := range made.Missed {
			fmt.Fprintf(p.stderr, "taskiso: partition: no effect: %s: %s\n", e.Setting, e.Reason)
		}
		if command != nil {
			command.Cgroup = cmp.Or(made.Cgroup(), t.Home)
		}
		err = context.Cause(ctx) // a signal that came before the run had its own handler
		if err == nil {
			err = run()
		}
		if undo := made.Undo(); undo != nil {
			return &status{exitFailed, errors.Join(err, undo)} // says more than how the run ended
		}
		return err
	})
}
