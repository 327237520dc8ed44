// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/internal/flags"
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

// armOptions isolate a thread that runs already and has not asked for it.
type armOptions struct {
	tid    int
	signal string
	settle flags.Duration
}

func (o *armOptions) register(f *pflag.FlagSet) {
	o.settle = flags.Duration(run.DefaultSettle)
	f.Var((*flags.Number)(&o.tid), "arm", "watch thread `TID`, which is pinned to one CPU, and signal it when it is interrupted")
	f.StringVar(&o.signal, "signal", "", "`SIGNAL` for --arm: SIGUSR1, 10; none by default")
	f.Var(&o.settle, "settle", "arm when the thread ran undisturbed for this `TIME`, and again after each signal")
}
