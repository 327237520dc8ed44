// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/hold"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/run"
	"github.com/taskiso/taskiso/internal/task"
)

func (p *program) runCommand() *cobra.Command {
	var opts options
	var r runOptions
	c := &cobra.Command{
		Use:   "run [flags] [[--] COMMAND [ARG...]]",
		Short: "Run a command on its own CPU and report what interrupted it",
		Long: `run pins COMMAND to CPUs, keeps taskiso itself off them, and reports every
kernel entry of COMMAND and its descendants there: what it was, how long it
took, and who caused it. Without COMMAND the task is a busy loop. Arguments
after COMMAND are its own; "--" before it is needed only if its name begins with "-".

Where "taskiso partition create" has set the CPUs apart, COMMAND is started in the
cgroup of that partition, which needs root.

By default the CPU is the last one that is isolated or nohz_full, or else the
last one. The report goes to standard error. Without the privileges to load BPF
programs the command still runs, and the report states what was not seen.

COMMAND and its descendants can call prctl(48, flags, 0, 0, 0), with which a thread
that is pinned to one isolated CPU asks to be isolated: the call returns 0 when the
CPU is quiet, and the first interruption of the thread sends it a signal. If that
interruption is itself a signal from another process, only that one is delivered.

With --partition the CPUs are set apart for the run, as by "taskiso partition
create", and everything is put back at its end, whatever ends it; only after SIGKILL
"taskiso partition recover" is needed. COMMAND runs in the cpuset of the partition.
The busy loop does not, because its runtime needs a CPU beside the isolated ones.

With --hold operations of other programs that would interrupt the CPUs wait, as
with "taskiso hold", while a thread of COMMAND is isolated; if no thread has asked
to be isolated, while COMMAND runs on the CPUs. prctl(48, 1<<19|1, 0, 0, 0) opens a
window in which they continue, and then isolates the thread again. The report lists
the operations.

Attaching and detaching the tracer interrupts every CPU some hundred times, because it
changes kernel text: start taskiso before anything else on the machine is isolated.

Signals are passed to COMMAND. At the end of --duration it gets SIGTERM, and
SIGKILL if it does not end within 5 seconds.

--max-breaks and --monitor do not pass if the answer is not known. The run then ends
with 125 and one line with the reason: COMMAND was never seen in user mode on one of
the CPUs, ran on other CPUs, had children that were not watched, or ended within the
warm-up; events were lost; or the kernel counted other interrupts than were seen. On
a CPU that is not nohz_full nothing reports every kernel entry: "no break seen" is
unknown there, and a number of breaks is a minimum, which --accept-lower-bound lets
pass.

The exit status is that of COMMAND, or 128+n if signal n ended it; 0 if
--duration ended it; 3 if COMMAND succeeded, but there were more than --max-breaks
breaks or a limit of the --budget was exceeded; 4 if COMMAND succeeded but a
--monitor was violated ("taskiso watch --help" has more); 2 for a wrong command
line; 125 if taskiso failed, or if --max-breaks, --budget or --monitor cannot be
judged; 126 if COMMAND cannot be executed and 127 if it was not found.`,
		Example: `  taskiso run -d 10s                       # a busy loop on the last CPU
  taskiso run -c 3 ./app --fast            # until the command ends
  taskiso run -c 2-3 -d 1m --warm-up 5s --report app.json -- ./app
  taskiso run -c 3 --partition -- ./app    # set apart for this run, then put back
  taskiso run -c 3 --hold -- ./app         # module loads, tracing and the like wait
  taskiso run --max-breaks 0 -d 1h -- ./app && echo undisturbed
  taskiso run --budget app.toml -d 1m -- ./app   # limits by cause: taskiso budget --help`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := opts.complete(c); err != nil {
				return err
			}
			command, err := commandOf(c, args)
			if err != nil {
				return err
			}
			return p.run(&opts, &r, command)
		},
	}
	opts.register(c)
	r.isolation.register(c.Flags())
	c.Flags().StringVar(&r.user, "user", "", "run the command as `USER`, a name or a number")
	r.partition.Register(c.Flags(), "partition", "set the CPUs apart for the run, by the spec.toml FILE, if one is given")
	r.hold.Register(c.Flags(), "hold", "hold operations that would interrupt an isolated thread of the command, by the hold.toml FILE, if one is given")
	c.Flags().SetInterspersed(false)
	return c
}

// runOptions are those that only run has.
type runOptions struct {
	isolation isolationOptions
	user      string
	partition flags.OptionalFile // a spec.toml
	hold      flags.OptionalFile // a hold.toml

	isolable cpulist.Set // CPUs on which a thread may be isolated
	holding  hold.Config
}

// run is the main job, from its plan to its exit status.
func (p *program) run(opts *options, r *runOptions, args []string) error {
	spec, err := specOfRun(r.partition.Path, opts)
	if err != nil {
		return err
	}
	if r.holding, _, err = hold.ReadConfig(r.hold.Path, true); err != nil {
		return usageError("%w", err)
	}
	target, err := run.Plan(p.files.View(), opts.request())
	if err != nil {
		return err
	}
	target.Apart = r.partition.Given
	if r.isolable, err = target.Isolable(r.isolation.isolable); err != nil {
		return err
	}
	start, err := target.StartOn(r.isolation.startOn)
	if err != nil {
		return err
	}
	target.Beside = start.Minus(target.CPUs)
	command, err := task.CommandAs(args, r.user, start)
	if err != nil {
		return err
	}
	cfg := p.config(opts, target)
	release, err := cfg.Target.Occupy(cfg.Files, command, cfg.Warnings())
	if err != nil {
		return err
	}
	defer release()
	out, err := run.OpenOutput(cfg.Console, cfg.Output, p.stderr, os.Stderr)
	if err != nil {
		return err
	}
	defer out.Discard()
	if !r.partition.Given {
		return r.on(cfg, command, out)
	}
	return p.inPartition(spec, cfg.Target, command, func() error { return r.on(cfg, command, out) })
}

// on runs the command, or the busy loop, on CPUs that are as they are to be.
func (r *runOptions) on(cfg run.Config, command *launch.Command, out *run.Output) error {
	cfg.Apart = r.partition.Given
	job := run.Job{Command: command, Isolable: r.isolable, Settle: time.Duration(r.isolation.settle)}
	if r.hold.Given {
		job.Hold = &r.holding
	}
	return ended(run.Run(cfg, job, out))
}

// config returns the settings of an observation.
func (p *program) config(opts *options, target place.Target) run.Config {
	cfg := run.Config{
		Console:  p.console(),
		Files:    p.files.View(),
		Version:  version(),
		Target:   target,
		Duration: time.Duration(opts.duration),
		WarmUp:   time.Duration(opts.warmUp),
		Buffer:   int(opts.buffer),
		Monitors: opts.monitors,
		Budget:   opts.budget,
		Output:   opts.printed(),
		Flight:   opts.flight,

		AcceptLowerBound: opts.lowerBound,
	}
	if opts.maxBreaksGiven {
		cfg.MaxBreaks = &opts.maxBreaks
	}
	return cfg
}
