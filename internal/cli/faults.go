// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskiso/taskiso/internal/faults/watch"
	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/pagefault"
)

// faultsOptions are those of taskiso faults.
type faultsOptions struct {
	pid, tid     int
	duration     flags.Duration
	warmUp       flags.Duration
	major        bool
	kernel       bool
	marked       bool
	noTimes      bool
	failOnFault  bool
	maxPerSecond int
	signal       string
	json         bool
	report       string
	output       string
	pprof        string
	quiet        bool
	verbose      bool

	sig unix.Signal // 0 for none
}

func (p *program) faultsCommand() *cobra.Command {
	var o faultsOptions
	c := &cobra.Command{
		Use:   "faults [flags] {-p PID | -t TID | [--] COMMAND [ARG...]}",
		Short: "Show the page faults of a program",
		Long: `faults shows page faults: how many, in which mapping, by which code, and how
long they took. It needs no privileges for one's own programs where the sysctl
kernel.perf_event_paranoid is 2 or less; Debian's default is 3.

A process is watched with all its threads, a command also with its child
processes, from its first instruction on. Faults in user mode are shown; those of
system calls only with --kernel.

With --marked only faults of threads count that have declared that they expect none:
pagefault.ExpectNone in Go, taskiso_pagefault_mark_none in C. With --signal a
thread gets a signal for each fault that counts, up to 20 ms later. (A program can
get it at the faulting instruction itself: taskiso_pagefault_notify_on.)

Opening and closing its perf events interrupts every CPU some 40 times, because it
changes kernel text (39 counted on Linux 6.12): start it before anything is isolated.

The report goes to standard error. The exit status is that of COMMAND, or 128+n if
signal n ended it; 3 with --fail-on-fault if faults counted, or were lost, and
COMMAND succeeded; 2 for a wrong command line; 125 if taskiso failed; 126 if
COMMAND cannot be executed and 127 if it was not found.`,
		Example: `  taskiso faults -- ./app
  taskiso faults -p 1234 -d 10s --major
  taskiso faults --pprof app.pb.gz -- ./app && go tool pprof -top app.pb.gz
  taskiso faults --warm-up 5s --fail-on-fault -d 1m -- ./realtime`,
		RunE: func(c *cobra.Command, args []string) error {
			command, err := commandOf(c, args)
			if err != nil {
				return err
			}
			if err := o.complete(c, command); err != nil {
				return err
			}
			return p.faults(&o, command)
		},
	}
	o.register(c)
	c.Flags().SetInterspersed(false)
	return c
}

func (o *faultsOptions) register(c *cobra.Command) {
	f := c.Flags()
	f.VarP((*flags.Number)(&o.pid), "pid", "p", "watch process `PID`")
	f.VarP((*flags.Number)(&o.tid), "tid", "t", "watch thread `TID`")
	f.VarP(&o.duration, "duration", "d", "end after this `TIME`, counted from the end of the warm-up: 30, 30s, 5m, 2h, 1d")
	f.Var(&o.warmUp, "warm-up", "do not count the faults of the first `TIME`")
	f.BoolVar(&o.major, "major", false, "only major faults")
	f.BoolVar(&o.kernel, "kernel", false, "also faults that system calls take")
	f.BoolVar(&o.marked, "marked", false, "only of threads that expect none")
	f.BoolVar(&o.noTimes, "no-times", false, "do not measure how long faults take, which costs less")
	f.BoolVar(&o.failOnFault, "fail-on-fault", false, "exit with status 3 if there are faults")
	f.Var((*flags.Number)(&o.maxPerSecond), "max-per-second", "look at no more than `N` faults per second, and count the others")
	f.StringVar(&o.signal, "signal", "", "send `SIGNAL` to the thread that faults")
	f.BoolVar(&o.json, "json", false, "print the report as JSON on standard output")
	registerOutput(f, &o.output)
	f.StringVar(&o.report, "report", "", "write the report as JSON to `FILE`")
	f.StringVar(&o.pprof, "pprof", "", "write a profile for go tool pprof to `FILE`, with stacks as far as frame pointers go")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no report")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print each fault as it comes")
}

// complete refuses what cannot be meant.
func (o *faultsOptions) complete(c *cobra.Command, args []string) error {
	subjects := given(c, "pid", "tid")
	if len(args) > 0 {
		subjects = append(subjects, "a command")
	}
	if err := oneSubject(subjects, "-p PID, -t TID and a COMMAND"); err != nil {
		return err
	}
	switch {
	case len(args) == 0 && o.pid+o.tid <= 0:
		return usageError("%d is not the number of a process or thread", o.pid+o.tid)
	case c.Flags().Changed("duration") && o.duration == 0:
		return usageError("a duration of 0 would observe nothing")
	case o.quiet && o.verbose:
		return usageError("--quiet and --verbose exclude each other")
	case o.maxPerSecond < 0:
		return usageError("--max-per-second cannot be negative")
	}
	var err error
	o.sig, err = parseSignal(o.signal)
	return err
}

func (p *program) faults(o *faultsOptions, args []string) error {
	return faultsFailed(ended(watch.Run(watch.Config{
		Console:      p.console(),
		Files:        p.files.View(),
		Version:      version(),
		PID:          o.pid,
		TID:          o.tid,
		Command:      args,
		Duration:     time.Duration(o.duration),
		WarmUp:       time.Duration(o.warmUp),
		MajorOnly:    o.major,
		KernelMode:   o.kernel,
		MarkedOnly:   o.marked,
		NoTimes:      o.noTimes,
		MaxPerSecond: o.maxPerSecond,
		FailOnFault:  o.failOnFault,
		Signal:       o.sig,
		Report:       o.report,
		Text:         o.output,
		Profile:      o.pprof,
		JSON:         o.json,
		Quiet:        o.quiet,
		Verbose:      o.verbose,
	})))
}

// faultsFailed gives an error about the target the status of a wrong command line.
func faultsFailed(err error) error {
	if errors.Is(err, pagefault.ErrNoTarget) {
		return &status{exitUsage, err}
	}
	return err
}
