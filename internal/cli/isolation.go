// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/collect"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/run"
	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/session"
	"github.com/taskiso/taskiso/internal/signame"
	"github.com/taskiso/taskiso/internal/trace"
)

// isolationOptions say when a call of prctl(48) succeeds.
type isolationOptions struct {
	settle   duration
	isolable string
	startOn  string
}

func (o *isolationOptions) register(f *pflag.FlagSet) {
	o.settle = duration(session.DefaultSettle)
	f.Var(&o.settle, "settle", "`TIME` that prctl(48) waits at most for its CPU to become quiet")
	f.StringVar(&o.startOn, "start-on", "", "`CPUS` to start the command on, if it pins its own threads later (default: those observed)")
	f.StringVar(&o.isolable, "isolable", "", "`CPUS`, of those observed, on which prctl(48) may succeed (default: the isolated and nohz_full ones)")
}

// cpus returns on which of the observed CPUs a thread may be isolated: on all if
// they will be a partition.
func (o *isolationOptions) cpus(t target, partition bool) (cpulist.Set, error) {
	switch {
	case o.isolable != "":
	case partition:
		return t.cpus, nil
	default:
		return t.cpus.Intersect(t.machine.SetApart()), nil
	}
	given, err := named(t.machine, o.isolable)
	if err != nil {
		return given, err
	}
	if other := given.Minus(t.cpus); !other.IsEmpty() {
		return given, usageError("CPU %v is not observed: name it in --cpus as well", other)
	}
	return given, nil
}

// start returns the CPUs on which the command starts.
func (o *isolationOptions) start(t target, partition bool) (cpulist.Set, error) {
	if o.startOn == "" {
		return t.cpus, nil
	}
	if partition {
		return t.cpus, usageError("--start-on and --partition exclude each other: the command is confined to the partition")
	}
	return named(t.machine, o.startOn)
}

// isolating is the answering of a command's calls for isolation.
type isolating struct {
	listener   *seccomp.Listener
	supervisor *session.Supervisor
	served     chan error
}

// isolate lets the command's calls for isolation be answered. That the kernel
// answers them itself, because something is missing, is told before the command
// runs, and is no error.
func (o *observation) isolate(t *task) error {
	fd, err := t.process.Listen()
	if failed := (*launch.ExecError)(nil); errors.As(err, &failed) {
		o.notIsolable(err.Error())
		return nil
	} else if err != nil {
		return err
	}
	listener, err := seccomp.Listen(fd)
	if err != nil {
		return err
	}
	isolation := o.observer.Isolation()
	if isolation.NoFaults != nil {
		o.report.Limits = append(o.report.Limits, fmt.Sprintf("on CPUs without context tracking a page fault that ends in a signal breaks isolation as a page fault: %v", isolation.NoFaults))
	}
	cfg := session.Config{
		Isolation: isolation,
		CPUs:      o.isolable,
		Settle:    o.settle,
		Affinity:  affinity.Of,
	}
	if o.holding != nil {
		o.gate = run.NewGate(o.holding.Keeper, isolation, o.isolable)
		cfg.Gate = o.gate
	}
	supervisor, err := session.New(cfg, listener)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	o.isolating = &isolating{listener, supervisor, make(chan error, 1)}
	go func() { o.isolating.served <- supervisor.Serve() }()
	return nil
}

// notIsolable says that no call for isolation will succeed.
func (o *observation) notIsolable(why string) {
	limit := fmt.Sprintf("no thread can be isolated: prctl(%d) is answered by the kernel: %s", abi.SetTaskIsolation, why)
	if o.observer != nil { // else that is a limit already, and more than this
		o.report.Limits = append(o.report.Limits, limit)
	}
	if !o.opts.quiet {
		fmt.Fprintf(o.p.stderr, "taskiso: %s\n", limit)
	}
}

// told is called with each break that ended a thread's isolation.
func (o *observation) told(b report.Break, at time.Duration) {
	if o.isolating == nil {
		return
	}
	text := b.Title
	if b.Detail != "" {
		text += ": " + b.Detail
	}
	for _, from := range b.Origins {
		text += "; " + from.Description()
	}
	o.isolating.supervisor.Tell(b.TID, at, b.ID, display.HideAddresses(text)) // the thread may be anybody's
}

// ended is called with each watched thread that has ended, and when it did.
func (o *observation) ended(tid uint32, at time.Duration) {
	if o.isolating != nil {
		o.isolating.supervisor.Ended(tid, at)
	}
}

// finishIsolation ends the answering and completes the report.
func (o *observation) finishIsolation() error {
	if o.isolating == nil {
		return nil
	}
	o.isolating.listener.Stop()
	o.isolating.supervisor.Cancel()
	err := errors.Join(<-o.isolating.served, o.isolating.listener.Close(), o.isolating.supervisor.Close(), o.isolating.supervisor.Err())
	calls := o.isolating.supervisor.Calls()
	collect.AddCalls(&o.report, calls)
	if len(calls) > 0 && o.isolable.IsEmpty() {
		o.report.Limits = append(o.report.Limits, fmt.Sprintf("no thread can be isolated on CPU %v: none is isolated or nohz_full; --isolable overrides that", o.target.cpus))
	}
	o.isolating = nil
	return err
}

// armOptions isolate a thread that runs already and has not asked for it.
type armOptions struct {
	tid    int
	signal string
	settle duration
}

func (o *armOptions) register(f *pflag.FlagSet) {
	o.settle = duration(session.DefaultSettle)
	f.IntVar(&o.tid, "arm", 0, "watch thread `TID`, which is pinned to one CPU, and signal it when it is interrupted")
	f.StringVar(&o.signal, "signal", "", "`SIGNAL` for --arm: SIGUSR1, 10; none by default")
	f.Var(&o.settle, "settle", "arm when the thread ran undisturbed for this `TIME`, and again after each signal")
}

// number returns the signal, 0 for none.
func (o *armOptions) number() (syscall.Signal, error) {
	if o.signal == "" {
		return 0, nil
	}
	signal, err := signame.Parse(o.signal)
	if err != nil {
		return 0, usageError("%w", err)
	}
	return signal, nil
}

// arm prepares to isolate the thread whenever it is quiet.
func (o *observation) arm(opts *armOptions, signal syscall.Signal) error {
	if o.observer == nil {
		return fmt.Errorf("arming thread %d: kernel entries cannot be seen: %w", opts.tid, o.why)
	}
	cpus, err := affinity.Of(opts.tid)
	if err != nil {
		return err
	}
	if cpus.Len() != 1 {
		return fmt.Errorf("arming thread %d: it may run on CPU %v; pin it to one, for example with taskset -pc", opts.tid, cpus)
	}
	cpu, _ := cpus.First()
	if !o.target.machine.NohzFull.Contains(cpu) {
		o.report.Limits = append(o.report.Limits, fmt.Sprintf("CPU %d is not nohz_full: an interruption that no event names is not signalled", cpu))
	}
	o.arming = &session.Arming{
		Isolation: o.observer.Isolation(), TID: opts.tid, CPU: cpu, Signal: signal, Settle: time.Duration(opts.settle),
		Entries: func() uint64 { return o.observer.Seen(cpu, trace.SyscallEnter) + o.observer.Seen(cpu, trace.PageFault) },
	}
	return nil
}

func (o *observation) isolationEvent(e trace.Event) {
	if o.arming != nil {
		o.armingErr = errors.Join(o.armingErr, o.arming.Event(e))
	}
}
