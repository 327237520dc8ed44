// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/cpulist"
	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/run"
)

// cutOptions are those of "taskiso cut".
type cutOptions struct {
	from, until, before, after flags.Duration
	around, cpus, output       string
	tid                        int
}

func (p *program) cutCommand() *cobra.Command {
	o := cutOptions{before: flags.Duration(time.Second), after: flags.Duration(time.Second)}
	c := &cobra.Command{
		Use:   "cut FILE {--from TIME | --to TIME | --around BREAK | --cpu CPUS | --thread TID} -o PART",
		Short: "Cut a part out of a recording",
		Long: `cut writes a part of the recording FILE, which is a recording as well: "taskiso report",
explain, and cut itself, read it. TIME is counted from the beginning of the observation
as "at" of each break is. BREAK is the number of a break, as the lines that
"taskiso report FILE --events" writes count them, or a TIME with its unit.

The part has the senders of what arrives in it. With --cpu or --thread it has only what
happened on CPUS, or to thread TID, and what explains that. How many breaks there were
cannot be compared with the kernel's own counts, so that nothing passes by a part.

The exit status is 0; 2 for a wrong command line or no such FILE; 125 if FILE cannot be
read, if nothing is recorded of what was asked for, or if PART cannot be written.`,
		Example: `  taskiso cut app.rec --from 12.3s --to 12.9s -o part.rec
  taskiso cut app.rec --around 17 --before 100ms --after 10ms -o part.rec
  taskiso cut app.rec --cpu 3 --thread 4711 -o part.rec`,
		Args: some(1, 1, "one FILE"),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := o.config(c)
			if err != nil {
				return err
			}
			return aboutFiles(run.Cut(args[0], o.output, cfg))
		},
	}
	f := c.Flags()
	f.Var(&o.from, "from", "begin at this `TIME`")
	f.Var(&o.until, "to", "end at this `TIME`")
	f.StringVar(&o.around, "around", "", "the time around `BREAK`, by number or time")
	f.Var(&o.before, "before", "with --around: this `TIME` before the break")
	f.Var(&o.after, "after", "with --around: this `TIME` after the break")
	f.StringVar(&o.cpus, "cpu", "", "only these `CPUS`: 3, 2-3")
	f.Var((*flags.Number)(&o.tid), "thread", "only thread `TID`")
	f.StringVarP(&o.output, "output", "o", "", "write the part to `FILE`")
	return c
}

// config returns what is to be cut out.
func (o *cutOptions) config(c *cobra.Command) (run.CutConfig, error) {
	var cfg run.CutConfig
	limits := given(c, "from", "to", "around", "cpu", "thread")
	switch {
	case o.output == "":
		return cfg, usageError("-o names no file for the part; see %s --help", c.CommandPath())
	case len(limits) == 0:
		return cfg, usageError("nothing says which part: give --from, --to, --around, --cpu or --thread")
	case o.around == "" && len(given(c, "before", "after")) > 0:
		return cfg, usageError("--before and --after need --around")
	case o.around != "" && len(given(c, "from", "to")) > 0:
		return cfg, usageError("--around is given together with --from or --to: give only one of them")
	case o.tid < 0 || o.tid == 0 && c.Flags().Changed("thread") || o.tid > math.MaxInt32:
		return cfg, usageError("--thread %d: there is no such thread", o.tid)
	}
	cfg.TID = uint32(o.tid)
	if o.cpus != "" {
		var err error
		if cfg.CPUs, err = cpulist.Parse(o.cpus); err != nil {
			return cfg, usageError("--cpu: %w", err)
		}
	}
	return cfg, o.times(c, &cfg)
}

// times sets when the part begins and ends.
func (o *cutOptions) times(c *cobra.Command, cfg *run.CutConfig) error {
	cfg.From, cfg.Until = time.Duration(o.from), time.Duration(o.until)
	if !c.Flags().Changed("to") {
		cfg.Until = math.MaxInt64
	}
	if o.around == "" {
		return nil
	}
	cfg.Before, cfg.After = time.Duration(o.before), time.Duration(o.after)
	if n, err := strconv.ParseUint(o.around, 10, 64); err == nil && n > 0 {
		cfg.Break = n
		return nil
	}
	at, err := flags.ParseDuration(o.around)
	if err != nil || at < 0 || o.around == "0" {
		return usageError("--around %q: want the number of a break, from 1 on, or a time with its unit such as 12.3s", o.around)
	}
	cfg.From, cfg.Until = max(0, at-cfg.Before), at+cfg.After
	return nil
}
