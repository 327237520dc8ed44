// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/partition"
	"github.com/taskiso/taskiso/internal/task"
)

// journals is where what was changed is remembered. It goes with the boot, as
// the changes do.
const journals = "/run/taskiso/partitions"

// exitNotAsMade is the status of create and verify when a setting is not what it
// was made, or has no effect.
const exitNotAsMade = 1

const partitionStatuses = `The exit status is 0 if all is as it should be, or comes by itself: lines that begin
with "later" name changes that the kernel makes when an interrupt next occurs. It is
1 if a setting is not what it should be, or has no effect; 2 for a wrong command
line; 125 if it failed; 128+n if signal n ended it.`

func (p *program) partitionCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "partition",
		Short: "Set CPUs apart, verify it, and put everything back",
		Long: `partition keeps work and interrupts off CPUs that are to be isolated: it changes
the settings of the running system, records their old values in
` + journals + `, and restores them. Settings that need a reboot are
only listed.`,
		Example: `  taskiso partition plan -c 2-3                 # what would be written, and why
  sudo taskiso partition create -c 2-3 --name dpdk
  sudo taskiso partition verify dpdk            # what has changed since, and who probably changed it
  sudo taskiso partition undo dpdk              # exactly what was there before
  taskiso partition boot -c 2-3                 # the boot parameters for the rest`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.partitionPlanCommand(), p.partitionBootCommand(), p.partitionCreateCommand(), p.partitionVerifyCommand(),
		p.partitionUndoCommand(), p.partitionListCommand(), p.partitionShowCommand(), p.partitionRecoverCommand())
	return c
}

func (p *program) partitionPlanCommand() *cobra.Command {
	var o specOptions
	c := &cobra.Command{
		Use:   "plan -c CPUS",
		Short: "Show what would be written, and why; changes nothing",
		Long: `plan lists every setting that keeps work off the given CPUs: what it is now, what
it would be changed to, and what this machine lacks. It needs no root and
changes nothing; without root, some settings cannot be read. A plan that "taskiso
partition create" refuses has the reason in its second line, and no writes.

The exit status is 0 even if the machine lacks settings, or if they cannot be known
or cannot be written from here (for example in a container), or if create refuses the
plan, unless --require names one of the settings.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return p.partitionPlan(&o) },
	}
	o.register(c)
	o.registerSettings(c)
	return c
}

func (p *program) partitionPlan(o *specOptions) error {
	spec, err := o.spec()
	if err != nil {
		return err
	}
	return p.withStore(&o.machineOptions, false, func(_ context.Context, s *partition.Store) error {
		plan, err := s.Plan(spec)
		if plan == nil {
			return err
		}
		return errors.Join(p.print(o.json, plan, plan.WriteText), err)
	})
}

func (p *program) partitionCreateCommand() *cobra.Command {
	var o specOptions
	c := &cobra.Command{
		Use:   "create -c CPUS",
		Short: "Set CPUs apart now; needs root",
		Long: `create makes the changes that "taskiso partition plan" shows. Each is written to a
journal in ` + journals + ` before it is made, and read back after. If one
fails, or SIGINT or SIGTERM comes in between, those before it are undone. In the
end create checks that the changes have their effect. irqbalance, where it runs,
takes its list at its next round: create waits for that, up to 10 seconds.

Where systemd is the first process, the partition is a slice, taskiso_NAME.slice:
services run there with Slice=, other processes are written to its cgroup.procs,
and "taskiso run -c" and "taskiso noise -c" start theirs there. A captured machine
(--host) has no cgroups: rehearse there with --partition none.

` + partitionStatuses + `
With status 0 and 1 the partition is there: "taskiso partition undo" removes it.
With any other status nothing was changed, or every change is undone.`,
		Example: `  sudo taskiso partition create -c 2-3
  sudo taskiso partition create -c 2-3 --name dpdk --profile throughput
  sudo taskiso partition create -f spec.toml --require cpuset`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error {
			spec, err := o.spec()
			if err != nil {
				return err
			}
			return p.withStore(&o.machineOptions, true, func(ctx context.Context, s *partition.Store) error {
				return p.partitionCreate(ctx, s, spec, o.json)
			})
		},
	}
	o.register(c)
	o.registerSettings(c)
	return c
}

func (p *program) partitionCreate(ctx context.Context, s *partition.Store, spec partition.Spec, asJSON bool) error {
	created, err := s.Create(ctx, spec)
	if err != nil {
		return err
	}
	if err := p.print(asJSON, created, created.WriteText); err != nil {
		return err
	}
	return notAsMade(created.OK())
}

// notAsMade returns the exit status for what has been printed already.
func notAsMade(ok bool) error {
	if ok {
		return nil
	}
	return &status{code: exitNotAsMade}
}

func (p *program) partitionVerifyCommand() *cobra.Command {
	var o machineOptions
	c := &cobra.Command{
		Use:   "verify NAME",
		Short: "Show what has changed since, and who probably changed it",
		Long: `verify compares each setting of a partition with the value that create gave it,
and looks whether it has its effect: where interrupts really go, the state of the
cpuset, the threads that may run on the CPUs. It guesses who changed a setting from
the programs that run and the settings that they are known to change.

` + partitionStatuses,
		Example: "  sudo taskiso partition verify dpdk\n  sudo taskiso partition verify dpdk --json",
		RunE: p.onPartition(&o, true, func(ctx context.Context, s *partition.Store, name string) error {
			v, err := s.Verify(ctx, name)
			if err != nil {
				return err
			}
			if err := p.print(o.json, v, v.WriteText); err != nil {
				return err
			}
			return notAsMade(v.OK())
		}),
	}
	p.takesName(c, &o)
	return c
}

func (p *program) partitionUndoCommand() *cobra.Command {
	var o machineOptions
	var force bool
	c := &cobra.Command{
		Use:   "undo NAME",
		Short: "Put back exactly the values that were there",
		Long: `undo restores what was there before the partition, the last change first. If
somebody else has changed a setting since, it changes nothing and shows all three
values; --force overwrites them. Once it has begun, signals do not interrupt it.
While processes run in the partition, it changes nothing and names them.

The exit status is 0; 2 for a wrong command line; 125 if it failed.`,
		Example: "  sudo taskiso partition undo dpdk\n  sudo taskiso partition undo dpdk --force",
		RunE: p.onPartition(&o, true, func(ctx context.Context, s *partition.Store, name string) error {
			err := s.Undo(ctx, name, force)
			if errors.Is(err, partition.ErrBooted) {
				return p.printUndone(o.json, []string{name}, err.Error())
			}
			if err != nil {
				return err
			}
			return p.printUndone(o.json, []string{name}, fmt.Sprintf("Partition %s is undone.", name))
		}),
	}
	c.Flags().BoolVar(&force, "force", false, "overwrite settings that somebody else has changed since")
	p.takesName(c, &o)
	return c
}

func (p *program) partitionRecoverCommand() *cobra.Command {
	var o machineOptions
	var force bool
	c := &cobra.Command{
		Use:   "recover",
		Short: "Undo partitions that a crash or a killed run has left",
		Long: `recover undoes every partition whose making or undoing was interrupted, or that
was made for a "taskiso run" which is over, and forgets those of an earlier boot.
Complete partitions are left alone. It may be run at any time, for example at boot.

The exit status is 0, also if there was nothing to do; 125 if it failed.`,
		Example: "  sudo taskiso partition recover",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			return p.withStore(&o, true, func(ctx context.Context, s *partition.Store) error {
				gone, err := s.Recover(ctx, force)
				text := "Nothing was left behind."
				if len(gone) > 0 {
					text = fmt.Sprintf("Undone: %s.", strings.Join(gone, ", "))
				}
				if err != nil && len(gone) == 0 {
					return err
				}
				return errors.Join(p.printUndone(o.json, gone, text), err)
			})
		},
	}
	c.Flags().BoolVar(&force, "force", false, "overwrite settings that somebody else has changed since")
	o.register(c)
	return c
}

func (p *program) partitionListCommand() *cobra.Command {
	var o machineOptions
	c := &cobra.Command{
		Use:     "list",
		Short:   "List partitions",
		Long:    "list shows each partition that has a journal in " + journals + ": its CPUs\nand whether it is complete, interrupted, in a run, left behind by one that was\nkilled, or of an earlier boot. It needs no root.",
		Example: "  taskiso partition list\n  taskiso partition list --json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			return p.withStore(&o, false, func(_ context.Context, s *partition.Store) error {
				list, err := s.List()
				if err != nil {
					return err
				}
				return p.print(o.json, partitionList{1, list}, func(w io.Writer) error { return partition.WriteList(w, list) })
			})
		},
	}
	o.register(c)
	return c
}

func (p *program) partitionShowCommand() *cobra.Command {
	var o machineOptions
	c := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a partition: what was changed, and from what",
		Long:    "show prints each change of a partition in the order it was made. It reads the\njournal, not the settings: \"taskiso partition verify\" does. It needs no root.",
		Example: "  taskiso partition show dpdk\n  taskiso partition show dpdk --json",
		RunE: p.onPartition(&o, false, func(_ context.Context, s *partition.Store, name string) error {
			record, err := s.Show(name)
			if err != nil {
				return err
			}
			return p.print(o.json, record, record.WriteText)
		}),
	}
	p.takesName(c, &o)
	return c
}

// takesName makes c a command about one partition, whose name is completed.
func (p *program) takesName(c *cobra.Command, o *machineOptions) {
	o.register(c)
	c.Args = some(1, 1, "the NAME of a partition (\"taskiso partition list\" lists them)")
	c.ValidArgsFunction = func(_ *cobra.Command, given []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var names []cobra.Completion
		if len(given) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		err := p.withStore(o, false, func(_ context.Context, s *partition.Store) error {
			list, err := s.List()
			for _, l := range list {
				names = append(names, cobra.CompletionWithDesc(l.Name, fmt.Sprintf("CPU %v, %s", l.CPUs, l.Condition)))
			}
			return err
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

func (p *program) onPartition(o *machineOptions, changes bool, do func(context.Context, *partition.Store, string) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		if err := p.withStore(o, false, func(_ context.Context, s *partition.Store) error {
			_, err := s.Show(args[0])
			return err
		}); errors.Is(err, partition.ErrNoPartition) {
			return err
		}
		return p.withStore(o, changes, func(ctx context.Context, s *partition.Store) error { return do(ctx, s, args[0]) })
	}
}

// withStore calls do with the partitions of the machine. A signal ends the
// context; nothing else of the process is ended by it.
func (p *program) withStore(o *machineOptions, changes bool, do func(context.Context, *partition.Store) error) (err error) {
	if changes && o.host == "" {
		if err := partition.Privileged(); err != nil {
			return err
		}
	}
	files, done, err := p.openMachine(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	ctx, stop := task.Interruptible()
	defer stop()
	return partitionProblem(do(ctx, partition.NewStore(filepath.Join(o.host, journals), partition.Machine{FS: files}, files.View())))
}

// partitionProblem gives an error of package partition its exit status.
func partitionProblem(err error) error {
	var by task.Interrupted
	switch {
	case errors.As(err, &by):
		return &status{exitSignal + int(by.Signal), err}
	case errors.Is(err, partition.ErrNoPartition):
		return usageError("%w; \"taskiso partition list\" shows what there is", err)
	default:
		return specProblem(err)
	}
}

// partitionList is what list prints as JSON.
type partitionList struct {
	Schema     int                 `json:"schema"`
	Partitions []partition.Summary `json:"partitions"` // each that has a journal
}

// undonePartitions is what undo and recover print as JSON.
type undonePartitions struct {
	Schema int      `json:"schema"`
	Undone []string `json:"undone"` // names of those that are gone now
}

// printUndone writes the names of partitions that were undone.
func (p *program) printUndone(asJSON bool, names []string, text string) error {
	return p.print(asJSON, undonePartitions{1, names}, func(w io.Writer) error {
		_, err := fmt.Fprintln(w, text)
		return err
	})
}
