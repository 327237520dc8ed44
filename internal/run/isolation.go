// SPDX-License-Identifier: Apache-2.0

package run

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/taskiso/taskiso/internal/abi"
	"github.com/taskiso/taskiso/internal/affinity"
	"github.com/taskiso/taskiso/internal/collect"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/event"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/printable"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/session"
)

// DefaultSettle is how long a call for isolation waits at most.
const DefaultSettle = session.DefaultSettle

// isolate lets the command's calls for isolation be answered. If the kernel answers
// them itself, because something is missing, this is reported before the command
// runs, and is not an error.
func (o *Observation) isolate(t *Task) error {
	fd, err := t.Process.Listen()
	if failed := (*launch.ExecError)(nil); errors.As(err, &failed) {
		why := failed.Error()
		if errors.Is(failed, fs.ErrPermission) {
			why += "; run as root or with CAP_SYS_ADMIN"
		}
		o.notIsolable(why)
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
		o.Report.Limits = append(o.Report.Limits, fmt.Sprintf("on CPUs without context tracking a page fault that ends in a signal breaks isolation as a page fault: %v", isolation.NoFaults))
	}
	cfg := session.Config{
		Isolation: isolation,
		CPUs:      o.isolable,
		Settle:    o.settle,
		Affinity:  affinity.Of,
	}
	if o.hold != nil {
		o.gate = NewGate(o.hold.Keeper, isolation, o.isolable)
		cfg.Gate = o.gate
	}
	supervisor, err := session.New(cfg, listener)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	o.isolating = &isolating{listener, supervisor, make(chan error, 1)}
	served := o.isolating.served
	go func() {
		err := supervisor.Serve()
		if err != nil { // nobody answers any more: calls fail from now on, instead of waiting for ever
			err = errors.Join(err, listener.Close())
		}
		served <- err
	}()
	return nil
}

// notIsolable reports that no call for isolation will succeed.
func (o *Observation) notIsolable(why string) {
	limit := fmt.Sprintf("no thread can be isolated: prctl(%d) is answered by the kernel: %s", abi.SetTaskIsolation, why)
	if o.observer != nil { // else that is a limit already, and more than this
		o.Report.Limits = append(o.Report.Limits, limit)
	}
	fmt.Fprint(o.cfg.Warnings(), printable.Line("taskiso: %s", limit))
}

// describeBreak is called with each break that ended a thread's isolation.
func (o *Observation) describeBreak(b report.Break, at time.Duration) {
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
	o.isolating.supervisor.Describe(b.TID, at, b.ID, display.HideAddresses(text)) // the thread may be anybody's
}

// ended is called with each watched thread that has ended, and when it did.
func (o *Observation) ended(tid uint32, at time.Duration) {
	if o.isolating != nil {
		o.isolating.supervisor.Ended(tid, at)
	}
}

// finishIsolation ends the answering and completes the report.
func (o *Observation) finishIsolation() error {
	if o.isolating == nil {
		return nil
	}
	o.isolating.listener.Stop()
	o.isolating.supervisor.Cancel()
	err := errors.Join(<-o.isolating.served, o.isolating.listener.Close(), o.isolating.supervisor.Close(), o.isolating.supervisor.Err())
	calls := o.isolating.supervisor.Calls()
	collect.AddCalls(&o.Report, calls)
	if len(calls) > 0 && o.isolable.IsEmpty() {
		o.Report.Limits = append(o.Report.Limits, fmt.Sprintf("no thread can be isolated on CPU %v: none is isolated or nohz_full; --isolable overrides that", o.cfg.Target.CPUs))
	}
	o.isolating = nil
	return err
}

// Arm isolates a thread that runs already and has not asked for it.
type Arm struct {
	TID    int            // 0 for none
	Signal syscall.Signal // 0 for none
	Settle time.Duration
}

// arm prepares to isolate the thread whenever it is quiet.
func (o *Observation) arm(a Arm) error {
	if o.observer == nil {
		return fmt.Errorf("arming thread %d: kernel entries cannot be seen: %w", a.TID, o.why)
	}
	cpus, err := affinity.Of(a.TID)
	if err != nil {
		return err
	}
	if cpus.Len() != 1 {
		return fmt.Errorf("arming thread %d: it may run on CPU %v; pin it to one, for example with taskset -pc", a.TID, cpus)
	}
	cpu, _ := cpus.First()
	if !o.cfg.Target.Machine.NohzFull.Contains(cpu) {
		o.Report.Limits = append(o.Report.Limits, fmt.Sprintf("CPU %d is not nohz_full: an interruption that no event names is not signalled", cpu))
	}
	o.arming = &session.Arming{
		Isolation: o.observer.Isolation(), TID: a.TID, CPU: cpu, Signal: a.Signal, Settle: a.Settle,
		Entries: func() uint64 { return o.observer.Seen(cpu, event.SyscallEnter) + o.observer.Seen(cpu, event.PageFault) },
	}
	return nil
}

func (o *Observation) isolationEvent(e event.Event) {
	if o.arming != nil {
		o.armingErr = errors.Join(o.armingErr, o.arming.Event(e))
	}
}
