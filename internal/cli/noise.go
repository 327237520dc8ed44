// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/loop"
	"github.com/taskiso/taskiso/internal/measure"
	"github.com/taskiso/taskiso/internal/run"
)

// noiseOptions are the flags of `taskiso noise`.
type noiseOptions struct {
	options
	threshold  flags.Duration
	traceLimit flags.Duration
	priority   loop.Priority
	histogram  string
	hgrm       string
	hlog       string
	plot       string

	thresholdGiven bool
}

func (p *program) noiseCommand() *cobra.Command {
	opts := noiseOptions{threshold: flags.Duration(loop.Threshold)}
	c := &cobra.Command{
		Use:   "noise [flags]",
		Short: "Measure the time that is taken from a busy loop, and name the causes",
		Long: `noise runs a loop on each of CPUS that does nothing but read the CPU's counter,
and records every gap between two readings. Each gap is compared with the events of
the tracer: "recorded" means that the kernel was entered, and names the cause;
"unexplained" means that no kernel entry was seen, so that the gap came from below
the kernel (firmware or a hypervisor), or from an entry that taskiso cannot see.
The report goes to standard output, and everything else to standard error.

Where "taskiso partition create" has set the CPUs apart, the loops run in the
cgroup of that partition, which needs root.

By default the CPU is the last one that is isolated or nohz_full, or else the
last one. It ends after --duration, with a gap of --trace-limit, or on SIGINT or
SIGTERM. Without the privileges to load BPF programs gaps are measured all the
same, and the report states that their causes are unknown.

Attaching and detaching the tracer interrupts every CPU some hundred times, because it
changes kernel text, also those on which another program is isolated.

The exit status is 0; 3 if a gap reached --trace-limit; 2 for a wrong command
line; 125 if taskiso failed, or if a loop lost its CPU or its clock, or was ended.`,
		Example: `  taskiso noise -d 60s
  taskiso noise -c 2-3 -d 10m -P f:95 --report noise.json --hgrm noise.hgrm
  taskiso noise -c 3 --trace-limit 20us    # stop at the first gap of that length, and show its details`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := opts.complete(c); err != nil {
				return err
			}
			return p.noise(&opts)
		},
	}
	f := c.Flags()
	f.StringVarP(&opts.cpus, "cpus", "c", "", "`CPUS` to measure: 3, 2-3, 1,5-7")
	f.StringVarP(&opts.housekeeping, "house-keeping", "H", "", "`CPUS` for taskiso itself (default: all others)")
	f.VarP(&opts.options.duration, "duration", "d", "end after this `TIME`, counted from the end of the warm-up: 30, 30s, 5m, 2h, 1d")
	f.Var(&opts.warmUp, "warm-up", "leave out the first `TIME`")
	f.Var(&opts.threshold, "threshold", "shortest gap to note, a `TIME`: 500ns, 1us, 10us")
	f.Var(&opts.traceLimit, "trace-limit", "end with the first gap of this `TIME` or more, and show its details")
	f.VarP(&opts.priority, "priority", "P", "scheduling `PRIORITY` of the loop: f:95 (FIFO), r:10 (round robin), o:-5 (nice)")
	registerOutput(f, &opts.output)
	f.StringVar(&opts.report, "report", "", "write the report as JSON to `FILE`")
	f.StringVar(&opts.record, "record", "", recordUsage)
	f.StringVar(&opts.histogram, "hist", "", "write the gaps by microsecond, as text, to `FILE`")
	f.StringVar(&opts.hgrm, "hgrm", "", "write percentiles as HdrHistogram's tools plot them to `FILE`")
	f.StringVar(&opts.hlog, "hlog", "", "write histograms in HdrHistogram's log format to `FILE`")
	f.StringVar(&opts.plot, "plot", "", "draw how often gaps came, by length, as SVG in `FILE`")
	f.Var(&opts.buffer, "buffer", "`SIZE` of the buffer for the events of each CPU, a power of two: 64K, 4M")
	f.BoolVarP(&opts.quiet, "quiet", "q", false, "print no report")
	f.BoolVar(&opts.json, "json", false, "print the report as JSON on standard output")
	return c
}

func (o *noiseOptions) complete(c *cobra.Command) error {
	if err := o.options.complete(c); err != nil {
		return err
	}
	o.thresholdGiven = c.Flags().Changed("threshold")
	if o.threshold == 0 {
		return usageError("a threshold of 0 would note every reading")
	}
	if o.plot != "" && filepath.Ext(o.plot) != ".svg" {
		return usageError("--plot %s: only SVG can be drawn, so the name has to end in .svg; rsvg-convert makes a PNG of one", o.plot)
	}
	if c.Flags().Changed("trace-limit") && o.traceLimit == 0 {
		return usageError("a --trace-limit of 0 would end with the first gap; leave it out for none")
	}
	if c.Flags().Changed("trace-limit") && o.traceLimit < o.threshold {
		return usageError("a gap of --trace-limit %v would not be noted: --threshold is %v", &o.traceLimit, &o.threshold)
	}
	return nil
}

// noise measures, from its plan to its exit status.
func (p *program) noise(opts *noiseOptions) error {
	target, err := run.Plan(p.files.View(), opts.request())
	if err != nil {
		return err
	}
	return ended(measure.Run(measure.Config{
		Observation: p.config(&opts.options, target),
		Loop:        opts.wanted(),
		TraceLimit:  time.Duration(opts.traceLimit),
		Histogram:   opts.histogram,
		Percentiles: opts.hgrm,
		Log:         opts.hlog,
		Plot:        opts.plot,
	}))
}

// wanted returns what was given for the loop.
func (o *noiseOptions) wanted() measure.Wanted {
	return measure.Wanted{Threshold: time.Duration(o.threshold), Given: o.thresholdGiven, Priority: o.priority}
}
