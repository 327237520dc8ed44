// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"

	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/run"
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

// inPartition calls do with the CPUs set apart, and puts everything back after.
func (p *program) inPartition(spec partition.Spec, t place.Target, command *launch.Command, do func() error) error {
	return p.withStore(&machineOptions{}, true, func(ctx context.Context, s *partition.Store) error {
		err, undo := run.InPartition(ctx, s, run.Apart{Spec: spec, Target: t, Command: command, Stderr: p.stderr}, do)
		if undo != nil {
			return &status{exitFailed, errors.Join(err, undo)} // reports more than how the run ended
		}
		return err
	})
}
