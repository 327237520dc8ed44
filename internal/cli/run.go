// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/noise"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/trace"
)

func (p *program) runCommand() *cobra.Command {
	var opts options
	var r runOptions
	c := &cobra.Command{
		Use:   "run [flags] [-- COMMAND [ARG...]]",
		Short: "Run a command on its own CPU and report what interrupted it",
		Long: `run pins COMMAND to CPUs, keeps taskiso itself off them, and reports every
kernel entry of COMMAND and its descendants there: what it was, how long it
took, and who caused it. Without COMMAND the task is a busy loop.

By default the CPU is the last one that is isolated or nohz_full, or else the
last one. The report goes to standard error. Without the privileges to load BPF
programs the command runs all the same, and the report says what was not seen.

COMMAND and its descendants have prctl(48, flags, 0, 0, 0), with which a thread
that is pinned to one isolated CPU asks to be isolated: it returns 0 when the CPU
is quiet, and the first thing that interrupts the thread sends it a signal.

With --partition the CPUs are set apart for the run, as "taskiso partition create"
does, and everything is put back at its end, whatever ends it; only after SIGKILL
"taskiso partition recover" has to. COMMAND runs in the cpuset of the partition.
The busy loop gets none, as its runtime needs another CPU beside the isolated ones.

With --hold operations of other programs that would interrupt the CPUs wait, as
with "taskiso hold", while a thread of COMMAND is isolated; if none ever asked to
be, while COMMAND runs on the CPUs. prctl(48, 1<<19|1, 0, 0, 0) lets them be done,
and isolates the thread again. The report lists them.

Signals are passed to COMMAND. At the end of --duration it gets SIGTERM, and
SIGKILL if it does not end within 5 seconds.

The exit status is that of COMMAND, or 128+n if signal n ended it; 0 if
--duration ended it; 3 if there were more than --max-breaks breaks and COMMAND
succeeded; 4 if so a --monitor was violated ("taskiso watch --help" tells more);
2 for a wrong command line; 125 if taskiso failed, or a monitor could not tell;
126 if COMMAND cannot be executed and 127 if it was not found.`,
		Example: `  taskiso run -d 10s                       # a busy loop on the last CPU
  taskiso run -c 3 -- ./app --fast         # until the command ends
  taskiso run -c 2-3 -d 1m --warm-up 5s --report app.json -- ./app
  taskiso run -c 3 --partition -- ./app    # set apart for this run, then put back
  taskiso run -c 3 --hold -- ./app         # module loads, tracing and the like wait
  taskiso run --max-breaks 0 -d 1h -- ./app && echo undisturbed`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := opts.complete(c); err != nil {
				return err
			}
			if len(args) > 0 && c.ArgsLenAtDash() != 0 {
				return usageError("write -- before the command: taskiso run [flags] -- %s", args[0])
			}
			r.partition = c.Flags().Changed("partition")
			return p.run(&opts, &r, args)
		},
	}
	opts.register(c)
	r.isolation.register(c.Flags())
	c.Flags().StringVar(&r.user, "user", "", "run the command as user `NAME`")
	c.Flags().StringVar(&r.spec, "partition", "", "set the CPUs apart for the run, as the spec.toml `FILE` says, if one is given")
	c.Flags().Lookup("partition").NoOptDefVal = defaultSpec
	c.Flags().StringVar(&r.hold, "hold", "", "hold operations that would interrupt an isolated thread of the command, as the hold.toml `FILE` says, if one is given")
	c.Flags().Lookup("hold").NoOptDefVal = defaultSpec
	return c
}

// runOptions are those that only run has.
type runOptions struct {
	isolation isolationOptions
	user      string
	partition bool   // whether to make one
	spec      string // its file
	hold      string // file with the options of hold; empty: nothing is held

	isolable cpulist.Set // CPUs on which a thread may be isolated
}

// run is the main job, from its plan to its exit status.
func (p *program) run(opts *options, r *runOptions, args []string) error {
	spec, err := r.readSpec(opts)
	if err != nil {
		return err
	}
	target, err := p.plan(opts)
	if err != nil {
		return err
	}
	if r.isolable, err = r.isolation.cpus(target, r.partition); err != nil {
		return err
	}
	start, err := r.isolation.start(target, r.partition)
	if err != nil {
		return err
	}
	command, err := planCommand(args, r.user, start)
	if err != nil {
		return err
	}
	if err := keepOff(target.cpus, target.housekeeping); err != nil {
		return err
	}
	release, err := claim(target.cpus)
	if err != nil {
		return err
	}
	defer release()
	out, err := p.openOutput(opts)
	if err != nil {
		return err
	}
	defer out.discard()
	if !r.partition {
		return p.runOn(opts, r, target, command, out)
	}
	return p.inPartition(spec, target, command, func() error { return p.runOn(opts, r, target, command, out) })
}

// runOn runs the command, or the busy loop, on CPUs that are as they are to be.
func (p *program) runOn(opts *options, r *runOptions, target target, command *launch.Command, out *output) error {
	w := p.observeRun(opts, target, out)
	defer w.close()
	if r.hold != "" {
		if err := w.holdForRun(r.hold); err != nil {
			return err
		}
	}
	var t task
	var err error
	if command == nil {
		t, err = startLoop(target.housekeeping, loopConfig{CPUs: target.cpus, Counter: noise.CPUCounter(), Threshold: loopThreshold})
	} else {
		w.isolable, w.settle = r.isolable, time.Duration(r.isolation.settle)
		if command.Isolable = w.observer != nil; !command.Isolable {
			w.notIsolable("kernel entries cannot be seen")
		}
		t, err = startCommand(*command)
	}
	if err != nil {
		return err
	}
	return w.followTask(&t)
}

// target is where to observe.
type target struct {
	machine            machine
	cpus, housekeeping cpulist.Set
}

// plan decides about CPUs.
func (p *program) plan(opts *options) (target, error) {
	m, err := readMachine(p.files.View())
	if err != nil {
		return target{}, err
	}
	t := target{machine: m}
	if t.cpus, err = m.choose(opts.cpus, opts.cpusGiven); err != nil {
		return target{}, err
	}
	if t.housekeeping, err = m.housekeeping(t.cpus); err != nil {
		return target{}, err
	}
	if opts.housekeeping != "" {
		if t.housekeeping, err = m.choose(opts.housekeeping, true); err != nil {
			return target{}, err
		}
		if both := t.housekeeping.Intersect(t.cpus); !both.IsEmpty() {
			return target{}, usageError("CPU %v cannot be observed and be used for housekeeping", both)
		}
	}
	return t, nil
}

// planCommand finds the program and the user, or returns nil for no command.
func planCommand(args []string, user string, cpus cpulist.Set) (*launch.Command, error) {
	if len(args) == 0 {
		if user != "" {
			return nil, usageError("--user %s needs a command", user)
		}
		return nil, nil
	}
	if args[0] == "" {
		return nil, usageError("the command is an empty word")
	}
	path, err := launch.Find(args[0])
	if err != nil {
		return nil, notExecuted(args[0], err)
	}
	c := &launch.Command{Path: path, Args: args, Env: os.Environ(), CPUs: cpus}
	if user != "" {
		if err := assumeUser(c, user); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// notExecuted gives an error about a command the exit status that env(1) gives it.
func notExecuted(name string, err error) error {
	code := exitNotExecutable
	if errors.Is(err, fs.ErrNotExist) {
		code = exitNotFound
	}
	return &status{code, fmt.Errorf("executing %s: %w", name, err)}
}

// observeRun attaches an observation of a command that is yet to come.
func (p *program) observeRun(opts *options, t target, out *output) *observation {
	return p.observe(opts, t, out, trace.Config{CPUs: t.cpus, Follow: trace.FollowProcesses, Isolation: true}, out.onBreak())
}

// task is what is observed, as far as it is ours.
type task struct {
	describe report.Task
	process  *launch.Process // nil for what runs already
	loop     *loopOutput     // nil for a command
	isolable bool            // its calls for isolation can be answered
}

func startCommand(c launch.Command) (task, error) {
	process, err := launch.Start(c)
	if err != nil {
		return task{}, err
	}
	return task{
		describe: report.Task{Kind: "command", Command: c.Args, PID: process.PID()},
		process:  process,
		isolable: c.Isolable,
	}, nil
}

// startLoop starts the busy loop, with files as its descriptors from
// launch.FirstFile on.
func startLoop(housekeeping cpulist.Set, cfg loopConfig, files ...*os.File) (task, error) {
	self, err := os.Executable()
	if err != nil {
		return task{}, fmt.Errorf("finding the program of the busy loop: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return task{}, fmt.Errorf("creating a pipe from the busy loop: %w", err)
	}
	command, err := loopCommand(self, cfg, housekeeping, write)
	if err != nil {
		return task{}, err
	}
	command.Files = files
	process, err := launch.Start(command)
	write.Close()
	if err != nil {
		read.Close()
		return task{}, err
	}
	return task{
		describe: report.Task{Kind: "busy loop", PID: process.PID()},
		process:  process,
		loop:     &loopOutput{json.NewDecoder(read)},
	}, nil
}

// killAfter is how long a command has to end after SIGTERM.
const killAfter = 5 * time.Second

// end ends the process and returns how it ended.
func (t *task) end(exited <-chan *os.ProcessState) *os.ProcessState {
	t.process.Signal(syscall.SIGTERM)
	select {
	case state := <-exited:
		return state
	case <-time.After(killAfter):
		t.process.Signal(syscall.SIGKILL)
		return <-exited
	}
}

// exitCode returns a command's status as a shell would.
func exitCode(state *os.ProcessState) int {
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return exitSignal + int(ws.Signal())
	}
	return state.ExitCode()
}

func foregroundGroup(fd int) (int, error) { return unix.IoctlGetInt(fd, unix.TIOCGPGRP) }

func processGroup() int { return unix.Getpgrp() }
