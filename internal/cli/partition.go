// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/kernfs"
	"github.com/taskiso/taskiso/internal/partition"
)

// machineOptions are the flags of every command about partitions.
type machineOptions struct {
	host string
	json bool
}

func (o *machineOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.host, "host", "", "take the captured machine in `DIR`, an unpacked archive of \"taskiso doctor --capture\", instead of this one")
	f.BoolVar(&o.json, "json", false, "print JSON")
}

// specOptions are the flags that make a spec.
type specOptions struct {
	machineOptions
	file    string
	flags   partition.Spec
	changed func(flag string) bool
}

func (o *specOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.file, "file", "f", "", "read the spec from this TOML `FILE`; options override it")
	o.machineOptions.register(c)
	f.StringVarP(&o.flags.CPUs, "cpus", "c", "", "`CPUS` to isolate: 3, 2-3, 1,5-7")
	f.StringVarP(&o.flags.Housekeeping, "house-keeping", "H", "", "`CPUS` for everything else (default: all others)")
	o.changed = f.Changed
}

// registerSettings adds the flags that choose settings.
func (o *specOptions) registerSettings(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.flags.Name, "name", "", "`NAME` of the partition (default \"default\")")
	f.StringVar(&o.flags.Profile, "profile", "", "latency: all settings; throughput: switch nothing off for the whole machine (default \"latency\")")
	f.StringVar(&o.flags.Partition, "partition", "", "kind of cpuset partition: isolated, root (with load balancing) or none (default \"isolated\")")
	f.BoolVar(&o.flags.Cycle, "cycle", false, "take the CPUs offline and online again first, which moves timers and idle interrupts away")
	f.Var((*flags.Number)(&o.flags.CacheWays), "cache-ways", "give the CPUs `N` ways of their last cache that no others fill (resctrl), or fail")
	f.StringVar(&o.flags.Siblings, "siblings", "", "other hardware threads of isolated cores: keep, or take offline (default \"keep\")")
	f.StringSliceVar(&o.flags.Skip, "skip", nil, "leave this `SETTING` alone; may be repeated")
	f.StringSliceVar(&o.flags.Require, "require", nil, "fail if this `SETTING` is not possible; may be repeated")
	complete(c, "profile", partition.Latency, partition.Throughput)
	complete(c, "partition", partition.Isolated, partition.Root, partition.None)
	complete(c, "siblings", partition.Keep, partition.Offline)
	complete(c, "skip", partition.Settings()...)
	complete(c, "require", partition.Settings()...)
}

// complete offers words for a flag.
func complete(c *cobra.Command, flag string, words ...string) {
	if err := c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // no such flag
	}
}

// spec joins the file and the options.
func (o *specOptions) spec() (partition.Spec, error) {
	spec, err := readSpec(o.file)
	if err != nil {
		return spec, err
	}
	override(&spec.CPUs, o.flags.CPUs, o.changed("cpus"))
	override(&spec.Housekeeping, o.flags.Housekeeping, o.changed("house-keeping"))
	override(&spec.Name, o.flags.Name, o.changed("name"))
	override(&spec.Profile, o.flags.Profile, o.changed("profile"))
	override(&spec.Partition, o.flags.Partition, o.changed("partition"))
	override(&spec.Cycle, o.flags.Cycle, o.changed("cycle"))
	override(&spec.CacheWays, o.flags.CacheWays, o.changed("cache-ways"))
	override(&spec.Siblings, o.flags.Siblings, o.changed("siblings"))
	override(&spec.Skip, o.flags.Skip, o.changed("skip"))
	override(&spec.Require, o.flags.Require, o.changed("require"))
	return spec, nil
}

// readSpec reads the file of a spec, which is part of the command line.
func readSpec(file string) (partition.Spec, error) {
	spec, err := partition.ReadSpec(file)
	if err != nil {
		return spec, usageError("%w", err)
	}
	return spec, nil
}

func override[T any](value *T, flag T, given bool) {
	if given {
		*value = flag
	}
}

// openMachine opens the files of this machine or of the captured one.
func (p *program) openMachine(o *machineOptions) (files *kernfs.FS, done func() error, err error) {
	if o.host == "" {
		return p.files, func() error { return nil }, nil
	}
	tree, err := partition.OpenCaptured(o.host)
	if err != nil {
		return nil, nil, aboutFiles(err)
	}
	return tree, tree.Close, nil
}

// withSpec calls do with what was asked for and the machine to plan it for.
func (p *program) withSpec(o *specOptions, do func(partition.Spec, fs.FS) error) (err error) {
	spec, err := o.spec()
	if err != nil {
		return err
	}
	files, done, err := p.openMachine(&o.machineOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return specProblem(do(spec, files.View()))
}

func (p *program) partitionBootCommand() *cobra.Command {
	var o specOptions
	c := &cobra.Command{
		Use:   "boot -c CPUS",
		Short: "Show the boot parameters that complete the partition",
		Long: `boot lists the words of the kernel's command line that isolate the given CPUs,
what each of them gives, and which of them are in effect: /sys decides that, and
the words of this boot only explain it. Nothing is proposed that this kernel does not
know, or that would take isolation from these CPUs; where that is not known, the
word is "unknown". How words are added depends on the boot
loader; with GRUB they go to GRUB_CMDLINE_LINUX in /etc/default/grub, and
update-grub writes its configuration.`,
		Args: noArguments,
		RunE: func(*cobra.Command, []string) error { return p.partitionBoot(&o) },
	}
	o.register(c)
	return c
}

func (p *program) partitionBoot(o *specOptions) error {
	return p.withSpec(o, func(spec partition.Spec, files fs.FS) error {
		boot, err := partition.NewBoot(spec, files)
		if err != nil {
			return err
		}
		return p.print(o.json, boot, boot.WriteText)
	})
}

// specProblem makes a mistake in what was asked for a usage error; that a file
// of the machine cannot be read is none.
func specProblem(err error) error {
	if errors.Is(err, partition.ErrSpec) {
		return usageError("%w", err)
	}
	return err
}
