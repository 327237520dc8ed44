// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/hold"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/run"
)

func (p *program) holdCommand() *cobra.Command {
	var o holdOptions
	c := &cobra.Command{
		Use:   "hold -c CPUS [flags]",
		Short: "Make operations that would interrupt CPUs wait",
		Long: `hold delays operations that would interrupt CPUS: loading a module or a BPF program,
tracing, CPU hotplug, a socket option that patches the kernel's code, and more
("taskiso hold operations"). A program that starts such an operation is paused
before the operation has any effect, and continues when a window opens, or after
--max-wait. To the program it is a slow system call: no signal reaches it where
taskiso gets a CPU in time, and a shell sees no stopped job.

Operations are always held, unless --while-isolated, --window or --during restrict it;
with --while-isolated, while a task runs on one of the CPUs. "taskiso run --hold" does
it while a thread of its command is isolated. "taskiso hold window" overrides that.

Never held are process 1 and the processes it waits for, kernel threads, helpers that
the kernel starts and their descendants, programs with a thread confined to CPUS,
32-bit programs, and processes under a debugger. Their operations are recorded as
"not held".

Attaching to the kernel, when hold starts, and detaching at its end interrupt every CPU
340 to 400 times in all (counted on Linux 6.12): start it before anything is isolated.

Each operation is a line on standard output, with --json a JSON object. hold ends after
--duration or on SIGINT or SIGTERM; then, and also after SIGKILL, operations that wait go on.

The exit status is 0; 2 for a wrong command line; 125 if nothing can be held here.`,
		Example: `  sudo taskiso hold -c 2-3 --while-isolated
  sudo taskiso hold -c 2-3 --during 09:30-16:00 --max-wait 1h   # trading hours
  sudo taskiso hold -c 2-3 --policy report --json               # only look
  sudo taskiso hold -c 2-3 --allow "comm=irqbalance" --deny module
  sudo taskiso hold status
  sudo taskiso hold window open --for 10s`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			o.given = c.Flags().Changed
			return p.hold(&o)
		},
	}
	o.register(c)
	c.AddCommand(p.holdStatusCommand(), p.holdReleaseCommand(), p.holdWindowCommand(), p.holdOperationsCommand())
	return c
}

// holdOptions are those of hold itself.
type holdOptions struct {
	spec         hold.Spec
	file         string
	housekeeping string
	duration     flags.Duration
	record       string
	json, quiet  bool
	given        func(name string) bool
}

func (o *holdOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.spec.CPUs, "cpus", "c", "", "`CPUS` that are not to be interrupted: 3, 2-3, 1,5-7")
	f.StringVar(&o.spec.MaxWait, "max-wait", hold.DefaultMaxWait.String(), "`TIME` after which an operation goes on in any case")
	f.StringVar(&o.spec.Policy, "policy", string(hold.Hold), "what happens to an operation: `hold|deny|report|ignore`; deny fails with EBUSY")
	f.StringVar(&o.spec.Window, "window", "", "let operations go on in these `HOURS` of the day, such as 17:00-18:00")
	f.StringVar(&o.spec.During, "during", "", "hold only in these `HOURS` of the day")
	f.BoolVar(&o.spec.WhileIsolated, "while-isolated", false, "hold only while a task runs on one of the CPUs")
	f.StringArrayVar(&o.spec.Allow, "allow", nil, "never hold processes that match every condition of `RULE`: \"comm=nft uid=0 cgroup=/system.slice\"; may be repeated")
	f.StringSliceVar(&o.spec.Deny, "deny", nil, "let these `OPERATIONS` fail with EBUSY")
	f.StringSliceVar(&o.spec.Report, "report", nil, "only record these `OPERATIONS`")
	f.StringSliceVar(&o.spec.Ignore, "ignore", nil, "leave these `OPERATIONS` alone")
	f.StringVarP(&o.file, "file", "f", "", "read the options from a hold.toml `FILE`; those given here come before it")
	f.StringVarP(&o.housekeeping, "house-keeping", "H", "", "`CPUS` for taskiso itself (default: all others)")
	f.VarP(&o.duration, "duration", "d", "end after this `TIME`")
	f.StringVar(&o.record, "record", "", "record each operation to `FILE`, for \"taskiso report\"")
	f.BoolVar(&o.json, "json", false, "print each operation as a JSON object")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no operations")
	if err := c.RegisterFlagCompletionFunc("policy", cobra.FixedCompletions([]cobra.Completion{"hold", "deny", "report", "ignore"}, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // no such flag
	}
}

// config joins the settings of the file with the flags.
func (o *holdOptions) config() (hold.Config, string, error) {
	c, cpus, err := hold.ReadConfig(o.file, !o.given("window") && !o.given("during"))
	if err != nil {
		return c, "", usageError("%w", err)
	}
	spec := o.spec
	if o.file != "" && !o.given("max-wait") {
		spec.MaxWait = ""
	}
	if o.file != "" && !o.given("policy") {
		spec.Policy = ""
	}
	if spec.MaxWait != "" {
		d, err := flags.ParseDuration(spec.MaxWait)
		if err != nil {
			return c, "", usageError("--max-wait: %w", err)
		}
		spec.MaxWait = d.String()
	}
	if err := spec.Apply(&c); err != nil {
		return c, "", usageError("%w", err)
	}
	if spec.CPUs != "" {
		cpus = spec.CPUs
	}
	return c, cpus, nil
}

func (p *program) hold(o *holdOptions) error {
	cfg, cpus, err := o.config()
	if err != nil {
		return err
	}
	if cpus == "" {
		return usageError("name the CPUs that are not to be interrupted with -c")
	}
	return run.HoldCPUs(run.HoldJob{
		Console: p.console(), Files: p.files.View(), Config: cfg, Duration: time.Duration(o.duration), JSON: o.json, Quiet: o.quiet,
		Record: o.record, Version: version(),
		CPUs: place.Request{CPUs: cpus, Given: true, Housekeeping: o.housekeeping},
	})
}

func (p *program) holdStatusCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "status", Short: "Show the operations that wait",
		Long:    "status shows whether operations are held now, the rule that decides this, and the\noperations that wait.",
		Example: "  sudo taskiso hold status\n  sudo taskiso hold status --json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			s, err := hold.Connect(hold.Dir).Status()
			if err != nil {
				return err
			}
			return p.print(asJSON, s, s.WriteText)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

func (p *program) holdReleaseCommand() *cobra.Command {
	return &cobra.Command{
		Use: "release {ID | all}", Short: "Let operations that wait go on now",
		Long:    "release lets the operation with number ID of \"taskiso hold status\" go on, or all.",
		Example: "  sudo taskiso hold release 7\n  sudo taskiso hold release all",
		Args:    some(1, 1, "the ID of an operation that waits, or all"),
		RunE: func(_ *cobra.Command, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 64)
			switch {
			case args[0] == "all":
				id = hold.All
			case err != nil || id == hold.All:
				return usageError("%q is not an operation ID: use an ID from \"taskiso hold status\", or all", args[0])
			}
			n, err := hold.Connect(hold.Dir).Release(id)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(p.stdout, "Released: %d.\n", n)
			return err
		},
	}
}

func (p *program) holdWindowCommand() *cobra.Command {
	var span flags.Duration
	c := &cobra.Command{
		Use: "window {open | close | auto}", Short: "Decide by hand whether operations are held",
		Long: `window open lets everything go on, window close holds everything, both until the
end of --for or another order. window auto goes back to the
options with which the hold was started.`,
		Example:   "  sudo taskiso hold window open --for 10s\n  sudo taskiso hold window auto",
		ValidArgs: []cobra.Completion{string(hold.WindowOpen), string(hold.WindowClose), string(hold.WindowAuto)},
		Args:      oneOf(string(hold.WindowOpen), string(hold.WindowClose), string(hold.WindowAuto)),
		RunE: func(_ *cobra.Command, args []string) error {
			return hold.Connect(hold.Dir).Order(hold.Window(args[0]), time.Duration(span))
		},
	}
	c.Flags().Var(&span, "for", "for this `TIME`")
	return c
}

func (p *program) holdOperationsCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "operations", Short: "List which operations can be held on this kernel, and which cannot",
		Long: `operations lists the operations that can be held on this kernel, with the interruption
that holding each prevents, and those that cannot be held. It loads a program for each
hook to see whether the kernel accepts it, and attaches none. Without root, or CAP_BPF
and CAP_PERFMON, the answer is unknown.`,
		Example: "  taskiso hold operations",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			ops, err := hold.Available()
			if err != nil {
				return err
			}
			all := map[string]any{"schema": hold.Schema, "operations": ops, "not_guarded": hold.NotGuarded()}
			return p.print(asJSON, all, func(w io.Writer) error { return hold.WriteOperations(w, ops) })
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}
