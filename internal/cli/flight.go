// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/flight"
	"github.com/taskiso/taskiso/internal/run"
)

// flightOptions are those of the flight recorder.
type flightOptions struct {
	window        flags.Window
	on            []string
	dir           string
	before, after flags.Duration
	room          flags.Bytes
}

func (o *flightOptions) register(f *pflag.FlagSet) {
	o.before, o.after, o.room = flags.Duration(10*time.Second), flags.Duration(2*time.Second), 1<<30
	f.Var(&o.window, "flight", "keep the latest `SIZE,TIME` of everything that is seen in memory, for snapshots: 64M,120s")
	f.StringArrayVar(&o.on, "snapshot", nil, "keep a snapshot when `CONDITION` is met: longest>100us, per_second>1000, cause=ID, monitor, lost; may be repeated")
	f.StringVar(&o.dir, "snapshot-dir", "", "keep snapshots in `DIR`, which is this user's own")
	f.Var(&o.before, "snapshot-before", "a snapshot has this `TIME` before what triggered it")
	f.Var(&o.after, "snapshot-after", "and this `TIME` after it")
	f.Var(&o.room, "snapshot-room", "`SIZE` of all snapshots in the directory: 100M, 1G")
}

// config returns what the flight recorder is to do, nil if there is none.
func (o *flightOptions) config(c *cobra.Command) (*run.FlightConfig, error) {
	others := given(c, "snapshot", "snapshot-dir", "snapshot-before", "snapshot-after", "snapshot-room")
	switch {
	case o.window.Bytes == 0 && len(others) > 0:
		return nil, usageError("%s needs --flight SIZE,TIME", others[0])
	case o.window.Bytes == 0:
		return nil, nil
	case o.dir == "":
		return nil, usageError("--flight needs --snapshot-dir DIR, where snapshots are kept")
	}
	conditions, err := flight.ParseConditions(o.on)
	if err != nil {
		return nil, usageError("--snapshot: %w", err)
	}
	if conditions.NeedMonitor() && len(given(c, "monitor")) == 0 {
		return nil, usageError("--snapshot %s needs a --monitor that can be violated", flight.OnMonitor)
	}
	cfg := &run.FlightConfig{
		Bytes: int(o.window.Bytes), Span: time.Duration(o.window.Span), Before: time.Duration(o.before), After: time.Duration(o.after),
		Dir: o.dir, Room: int64(o.room), Conditions: conditions,
	}
	if err := cfg.CheckSizes(); err != nil {
		return nil, usageError("--flight %s: %w", o.window.String(), err)
	}
	return cfg, cfg.CheckDirectory()
}
