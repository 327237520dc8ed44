// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/launch"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/seccomp"
	"github.com/taskiso/taskiso/internal/session"
)

// isolationOptions say when a call of prctl(48) succeeds.
type isolationOptions struct {
	settle   duration
	isolable string
}

func (o *isolationOptions) register(f *pflag.FlagSet) {
	o.settle = duration(session.DefaultSettle)
	f.Var(&o.settle, "settle", "how long prctl(48) waits for its CPU to become quiet: `TIME`")
	f.StringVar(&o.isolable, "isolable", "", "`CPUS`, of those observed, on which prctl(48) may succeed (default: the isolated and nohz_full ones)")
}

// cpus returns on which of the observed CPUs a thread may be isolated.
func (o *isolationOptions) cpus(t target) (cpulist.Set, error) {
	if o.isolable == "" {
		return t.cpus.Intersect(t.machine.isolated.Union(t.machine.nohzFull)), nil
	}
	given, err := t.machine.choose(o.isolable, true)
	if err != nil {
		return given, err
	}
	if other := given.Minus(t.cpus); !other.IsEmpty() {
		return given, usageError("CPU %v is not observed: name it in --cpus as well", other)
	}
	return given, nil
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
	if o.isolable.IsEmpty() {
		o.notIsolable(fmt.Sprintf("none of CPU %v is isolated or nohz_full", o.target.cpus))
	}
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
	supervisor, err := session.New(session.Config{
		Isolation: o.observer.Isolation(),
		CPUs:      o.isolable,
		Settle:    o.settle,
		Affinity:  affinity,
	}, listener)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	o.isolating = &isolating{listener, supervisor, make(chan error, 1)}
	go func() { o.isolating.served <- supervisor.Serve() }()
	return nil
}

// notIsolable says that no call for isolation will succeed.
func (o *observation) notIsolable(why string) {
	o.report.Limits = append(o.report.Limits, fmt.Sprintf("prctl(%d) never succeeds: %s", seccomp.SetTaskIsolation, why))
	if !o.opts.quiet {
		fmt.Fprintf(o.p.stderr, "taskiso: prctl(%d) will not succeed: %s\n", seccomp.SetTaskIsolation, why)
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
		text += "; " + strings.TrimPrefix(from.String(), "1× ")
	}
	o.isolating.supervisor.Tell(b.TID, at, b.ID, text)
}

// ended is called with each watched thread that has ended.
func (o *observation) ended(tid uint32) {
	if o.isolating != nil {
		o.isolating.supervisor.Ended(tid)
	}
}

// finishIsolation ends the answering and completes the report.
func (o *observation) finishIsolation() error {
	if o.isolating == nil {
		return nil
	}
	o.isolating.listener.Stop()
	err := errors.Join(<-o.isolating.served, o.isolating.listener.Close(), o.isolating.supervisor.Err())
	o.report.AddCalls(o.isolating.supervisor.Calls())
	o.isolating = nil
	return err
}
