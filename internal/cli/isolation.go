// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/run"
)

// isolationOptions decide when a call of prctl(48) succeeds.
type isolationOptions struct {
	settle   flags.Duration
	isolable string
	startOn  string
}

func (o *isolationOptions) register(f *pflag.FlagSet) {
	o.settle = flags.Duration(run.DefaultSettle)
	f.Var(&o.settle, "settle", "`TIME` that prctl(48) waits at most for its CPU to become quiet")
	f.StringVar(&o.startOn, "start-on", "", "`CPUS` to start the command on, if it pins its own threads later (default: those observed)")
	f.StringVar(&o.isolable, "isolable", "", "`CPUS`, of those observed, on which prctl(48) may succeed (default: the isolated and nohz_full ones)")
}

// cpus returns on which of the observed CPUs a thread may be isolated: on all if
// they will be a partition.
func (o *isolationOptions) cpus(t place.Target, partition bool) (cpulist.Set, error) {
	switch {
	case o.isolable != "":
	case partition:
		return t.CPUs, nil
	default:
		return t.CPUs.Intersect(t.Machine.SetApart()), nil
	}
	given, err := place.Named(t.Machine, o.isolable)
	if err != nil {
		return given, err
	}
	if other := given.Minus(t.CPUs); !other.IsEmpty() {
		return given, usageError("CPU %v is not observed: name it in --cpus as well", other)
	}
	return given, nil
}

// start returns the CPUs on which the command starts.
func (o *isolationOptions) start(t place.Target, partition bool) (cpulist.Set, error) {
	if o.startOn == "" {
		return t.CPUs, nil
	}
	if partition {
		return t.CPUs, usageError("--start-on and --partition exclude each other: the command is confined to the partition")
	}
	return place.Named(t.Machine, o.startOn)
}

// armOptions isolate a thread that runs already and has not asked for it.
type armOptions struct {
	tid    int
	signal string
	settle flags.Duration
}

func (o *armOptions) register(f *pflag.FlagSet) {
	o.settle = flags.Duration(run.DefaultSettle)
	f.IntVar(&o.tid, "arm", 0, "watch thread `TID`, which is pinned to one CPU, and signal it when it is interrupted")
	f.StringVar(&o.signal, "signal", "", "`SIGNAL` for --arm: SIGUSR1, 10; none by default")
	f.Var(&o.settle, "settle", "arm when the thread ran undisturbed for this `TIME`, and again after each signal")
}
