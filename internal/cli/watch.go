// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/proc"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/topology"
	"github.com/taskiso/taskiso/internal/trace"
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

With --monitor it also checks what happens on each CPU against automata, in the
form that the kernel's own runtime verification uses. A verdict is "satisfied",
"violated", or "unknown" if events were lost or cannot be seen on this kernel.
  quiet_user  no interrupt to synchronise kernel text hits user mode
  isolation   a thread isolated by prctl(48) is notified of each break exactly once
  poke3       the CPU synchronises after each step of a patch, before the next

--max-breaks does not pass if the answer is not known: a thread slept all the time,
no task was seen in user mode on a CPU, events were lost, or the kernel counted
interrupts that were not seen. On a CPU that is not nohz_full nothing reports every
kernel entry: "no break seen" is unknown there, and a number of breaks is a minimum.

The exit status is 0; 3 if there were more than --max-breaks breaks; 4 if a
monitor was violated; 2 for a wrong command line; 125 if taskiso failed, if it could
not see kernel entries, or if --max-breaks or a --monitor cannot be judged.`,
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
			signal, err := arm.number()
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
			return p.watch(&opts, subject, &arm, signal)
		},
	}
	opts.register(c)
	arm.register(c.Flags())
	c.Flags().IntVarP(&pid, "pid", "p", 0, "watch the threads of process `PID`")
	c.Flags().IntVarP(&tid, "tid", "t", 0, "watch thread `TID`")
	return c
}

// subject is what is watched.
type subject struct {
	files    fs.FS
	describe report.Task
	follow   trace.Follow
}

// subject returns what the flags name: exactly one of CPUs, process and thread.
func (p *program) subject(c *cobra.Command, pid, tid, armed int) (*subject, error) {
	given := 0
	for _, name := range []string{"cpus", "pid", "tid", "arm"} {
		if c.Flags().Changed(name) {
			given++
		}
	}
	if given != 1 {
		return nil, usageError("nothing to watch: give one of --cpus, --pid, --tid and --arm")
	}
	s := &subject{files: p.files.View()}
	switch {
	case c.Flags().Changed("pid"):
		s.describe, s.follow = report.Task{Kind: "process", PID: pid}, trace.FollowThreads
	case c.Flags().Changed("tid"):
		s.describe = report.Task{Kind: "thread", TID: tid}
	case c.Flags().Changed("arm"):
		s.describe = report.Task{Kind: "thread", TID: armed}
	default:
		s.describe = report.Task{Kind: "cpus"}
		return s, nil
	}
	if c.Flags().Changed("monitor") {
		return nil, usageError("--monitor checks CPUs: name them with --cpus instead of %s", s)
	}
	if !s.alive() {
		return nil, usageError("watching %s: there is none", s)
	}
	return s, nil
}

func (s *subject) String() string {
	switch s.describe.Kind {
	case "process":
		return fmt.Sprintf("process %d", s.describe.PID)
	case "thread":
		return fmt.Sprintf("thread %d", s.describe.TID)
	default:
		return "CPUs"
	}
}

// dir is the subject's directory below /proc, or "" for CPUs.
func (s *subject) dir() string {
	switch s.describe.Kind {
	case "process":
		return proc.Process(s.describe.PID)
	case "thread":
		return proc.Process(s.describe.TID)
	default:
		return ""
	}
}

// alive tells whether the subject is still there.
func (s *subject) alive() bool {
	if s.dir() == "" {
		return true
	}
	stat, err := proc.ReadStat(s.files, s.dir())
	return err == nil && !stat.HasEnded()
}

// threads returns the numbers of the subject's threads.
func (s *subject) threads() ([]int, error) {
	if s.describe.Kind != "process" {
		return []int{s.describe.TID}, nil
	}
	tids, err := proc.Threads(s.files, s.describe.PID)
	if err != nil {
		return nil, fmt.Errorf("listing the threads of %s: %w", s, err)
	}
	return tids, nil
}

// pinned returns the CPUs the subject's threads are confined to.
func (s *subject) pinned() (cpulist.Set, error) {
	tids, err := s.threads()
	if err != nil {
		return cpulist.Set{}, err
	}
	var all cpulist.Set
	for _, tid := range tids {
		cpus, err := affinity.Of(tid)
		if errors.Is(err, unix.ESRCH) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return cpulist.Set{}, err
		}
		all = all.Union(cpus)
	}
	return all, nil
}

func (p *program) watch(opts *options, s *subject, arm *armOptions, signal syscall.Signal) error {
	target, cfg, err := p.planWatch(opts, s)
	if err != nil {
		return err
	}
	out, err := p.openOutput(opts, p.stdout, os.Stdout)
	if err != nil {
		return err
	}
	defer out.discard()
	cfg.Isolation = arm.tid != 0
	o := p.observe(opts, target, out, cfg, out.onBreak())
	defer o.close()
	if s.describe.Kind != "cpus" && o.observer != nil {
		if o.aside, err = p.stepAside(s, target.machine); err != nil {
			return err
		}
		o.aside.events = o.observer.Activity
	}
	if arm.tid != 0 {
		if err := o.arm(arm, signal); err != nil {
			return err
		}
	}
	return o.followSubject(s)
}

// planWatch decides what to trace, and moves taskiso off the CPUs concerned.
func (p *program) planWatch(opts *options, s *subject) (target, trace.Config, error) {
	if s.describe.Kind == "cpus" {
		t, err := p.plan(&opts.cpuOptions)
		if err != nil {
			return t, trace.Config{}, err
		}
		return t, trace.Config{CPUs: t.cpus, AllTasks: true}, keepOff(t.cpus, t.housekeeping)
	}
	m, err := topology.ReadMachine(p.files.View())
	if err == nil {
		err = trace.CheckNumbers()
	}
	if err != nil {
		return target{}, trace.Config{}, err
	}
	t := target{machine: m}
	cfg := trace.Config{Follow: s.follow}
	pinned, err := s.pinned()
	if err != nil {
		return t, cfg, err
	}
	// A task that may run anywhere leaves no CPU to be kept off.
	if housekeeping := m.Online.Minus(pinned); !housekeeping.IsEmpty() {
		err = keepOff(pinned, housekeeping)
	}
	return t, cfg, err
}

// followSubject watches what runs already and publishes the report.
func (o *observation) followSubject(s *subject) error {
	o.progress = o.p.newProgress(o.opts, true)
	o.report.Task = s.describe
	before, err := s.usage()
	if err != nil {
		return err
	}
	if err := o.startWatching(s); err != nil {
		return err
	}
	if err := announceReady(); err != nil {
		return err
	}
	o.alive = s.alive
	if _, err := o.until(nil, nil); err != nil {
		return err
	}
	after, _ := s.usage() // gone when the subject has ended
	if err := o.finish(); err != nil {
		return err
	}
	o.report.Task.EndedBy = o.endedBy
	if o.report.Usage, err = o.system.usage(s.files, o.target.cpus, nil, nil); err != nil {
		return err
	}
	o.report.Usage.Task = after.Since(before)
	if err := o.out.publish(&o.report); err != nil {
		return err
	}
	if o.observer == nil {
		return &status{exitFailed, fmt.Errorf("watching %s: nothing was seen; %s", s, nextStep(o.why))}
	}
	return o.ownVerdict()
}

func (o *observation) startWatching(s *subject) error {
	if err := o.start(); err != nil {
		return err
	}
	o.report.Started = time.Now().Add(time.Duration(o.opts.warmUp))
	if o.observer == nil {
		return nil
	}
	if s.describe.Kind != "cpus" {
		if err := o.watchThreads(s); err != nil {
			return err
		}
	}
	o.observer.BeginNow(time.Duration(o.opts.warmUp))
	return nil
}

// watchThreads adds every thread. Children of those that are watched are
// followed by the kernel side; a thread made by one that was not yet watched is
// found by looking again until there is no new one.
func (o *observation) watchThreads(s *subject) error {
	watched := make(map[int]bool)
	for {
		tids, err := s.threads()
		if err != nil {
			return err
		}
		fresh := false
		for _, tid := range tids {
			if watched[tid] {
				continue
			}
			if err := o.observer.Watch(tid); err != nil {
				return err
			}
			watched[tid], fresh = true, true
		}
		if !fresh {
			return o.unwatchEnded(watched, tids)
		}
	}
}

// unwatchEnded forgets threads that ended when they were just to be watched: another thread may have their number.
func (o *observation) unwatchEnded(watched map[int]bool, alive []int) error {
	for tid := range watched {
		if slices.Contains(alive, tid) {
			continue
		}
		if err := o.observer.Unwatch(tid); err != nil {
			return err
		}
	}
	return nil
}
