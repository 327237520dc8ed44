// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/run"
)

func (p *program) watchCommand() *cobra.Command {
	var opts options
	var arm armOptions
	var pid, tid int
	c := &cobra.Command{
		Use:   "watch {-c CPUS | -p PID | -t TID | --arm TID} [flags]",
		Short: "Report what interrupts running tasks",
		Long: `watch reports, like run, every kernel entry of running tasks: of all user tasks on
CPUS, of the threads of process PID, or of thread TID. It changes nothing, except
that it keeps itself off the CPUs it watches. If the threads may run on every CPU,
taskiso moves to one where none of them runs at the moment. If they run on every
CPU, it takes its time from them, and the report names it.

The report goes to standard output, and everything else to standard error.

With --arm it isolates the thread, which need not be prepared for it: once the
thread has run undisturbed for the time of --settle, the first interruption other
than a signal sends it SIGNAL; then the same begins again.

It ends after --duration, when the process or thread ends, or on SIGINT or
SIGTERM. As a service of systemd with Type=notify it is started when it observes. One CPU must be left for taskiso: -c cannot name them all, -p and -t follow
to every CPU.

Attaching and detaching the tracer interrupts every CPU some hundred times, because it
changes kernel text, also those on which another program is isolated.

With --monitor it also checks what happens on each CPU against automata, in the
form that the kernel's own runtime verification uses. A verdict is "satisfied",
"violated", or "unknown" if events were lost or cannot be seen on this kernel.
  quiet_user  no interrupt to synchronise kernel text hits user mode
  isolation   a thread isolated by prctl(48) is notified of each break exactly once
  poke3       the CPU synchronises after each step of a patch, before the next

--max-breaks does not pass if the answer is not known: a thread slept all the time,
no task was seen in user mode on a CPU, events were lost, or the kernel counted
interrupts that were not seen. On a CPU that is not nohz_full nothing reports every
kernel entry: "no break seen" is unknown there, and a number of breaks is a minimum,
which --accept-lower-bound lets pass.

The exit status is 0; 3 if there were more than --max-breaks breaks or a limit of the
--budget was exceeded; 4 if a monitor was violated; 2 for a wrong command line; 125 if
taskiso failed, if it could not see kernel entries, or if --max-breaks, --budget or a
--monitor cannot be judged.`,
		Example: `  taskiso watch -c 3 -d 30s
  taskiso watch -c 3 --monitor quiet_user --monitor ./own.dot
  taskiso watch -p $(pidof app) -v
  taskiso watch --arm 4711 --signal SIGUSR1   # notify thread 4711 of each interruption
  taskiso watch -t 4711 --max-breaks 0 -d 10m --report quiet.json`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := opts.complete(c); err != nil {
				return err
			}
			signal, err := parseSignal(arm.signal)
			if err != nil {
				return err
			}
			if arm.tid == 0 && c.Flags().Changed("signal") {
				return usageError("--signal needs --arm")
			}
			subject, err := p.subject(c, pid, tid, arm.tid)
			if err != nil {
				return err
			}
			return p.watch(&opts, subject, run.Arm{TID: arm.tid, Signal: signal, Settle: time.Duration(arm.settle)})
		},
	}
	opts.register(c)
	arm.register(c.Flags())
	c.Flags().VarP((*flags.Number)(&pid), "pid", "p", "watch the threads of process `PID`")
	c.Flags().VarP((*flags.Number)(&tid), "tid", "t", "watch thread `TID`")
	return c
}

// oneSubject refuses a command line that names nothing to observe, or more than one.
func oneSubject(given []string, choice string) error {
	switch len(given) {
	case 0:
		return usageError("nothing to watch: give one of %s", choice)
	case 1:
		return nil
	}
	return usageError("%s are given together: give only one of %s", strings.Join(given, " and "), choice)
}

// subject returns what the flags name: exactly one of CPUs, process and thread.
func (p *program) subject(c *cobra.Command, pid, tid, armed int) (*run.Subject, error) {
	if err := oneSubject(given(c, "cpus", "pid", "tid", "arm"), "--cpus, --pid, --tid and --arm"); err != nil {
		return nil, err
	}
	files := p.files.View()
	var s *run.Subject
	switch {
	case c.Flags().Changed("pid"):
		s = run.NewProcess(files, pid)
	case c.Flags().Changed("tid"):
		s = run.NewThread(files, tid)
	case c.Flags().Changed("arm"):
		s = run.NewThread(files, armed)
	default:
		return run.NewCPUs(files), nil
	}
	if c.Flags().Changed("monitor") {
		return nil, usageError("--monitor checks CPUs: name them with --cpus instead of %s", s)
	}
	if !s.Alive() {
		return nil, usageError("watching %s: there is none", s)
	}
	return s, nil
}

func (p *program) watch(opts *options, s *run.Subject, arm run.Arm) error {
	target, err := run.PlanWatch(p.files.View(), opts.request(), s)
	if err != nil {
		return err
	}
	cfg := p.config(opts, target)
	out, err := run.OpenOutput(cfg.Console, cfg.Output, p.stdout, os.Stdout)
	if err != nil {
		return err
	}
	defer out.Discard()
	return ended(run.Watch(cfg, s, arm, out))
}
