// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/taskiso/taskiso/internal/budget"
	"github.com/taskiso/taskiso/internal/flags"
	"github.com/taskiso/taskiso/internal/monitor"
	"github.com/taskiso/taskiso/internal/place"
	"github.com/taskiso/taskiso/internal/report/screen"
	"github.com/taskiso/taskiso/internal/run"
)

// options are those of every observation.
type options struct {
	cpuOptions
	duration                                flags.Duration
	warmUp                                  flags.Duration
	report, output, events, record, profile string // files
	maxBreaks                               uint64
	lowerBound                              bool // is accepted
	budgetFile, junit                       string
	buffer                                  flags.BufferSize
	quiet                                   bool
	verbose                                 bool
	json                                    bool
	screenOptions
	flightOptions
	monitorNames []string
	monitors     []*monitor.Monitor

	maxBreaksGiven bool
	budget         *budget.Budget
	flight         *run.FlightConfig
}

// cpuOptions name CPUs.
type cpuOptions struct {
	cpus         string
	cpusGiven    bool   // else a CPU is chosen
	housekeeping string // "" for all others
}

func (o *cpuOptions) request() place.Request {
	return place.Request{CPUs: o.cpus, Given: o.cpusGiven, Housekeeping: o.housekeeping}
}

// printed returns what is printed and written of a report.
func (o *options) printed() run.OutputConfig {
	return run.OutputConfig{Report: o.report, Text: o.output, Events: o.events, JUnit: o.junit, Record: o.record, Profile: o.profile, Quiet: o.quiet, Verbose: o.verbose, JSON: o.json, Full: o.full, Sort: o.sort.String()}
}

func (o *options) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.cpus, "cpus", "c", "", "`CPUS` to observe: 3, 2-3, 1,5-7")
	f.StringVarP(&o.housekeeping, "house-keeping", "H", "", "`CPUS` for taskiso itself (default: all others)")
	f.VarP(&o.duration, "duration", "d", "end after this `TIME`, counted from the end of the warm-up: 30, 30s, 5m, 2h, 1d")
	f.Var(&o.warmUp, "warm-up", "leave out the first `TIME`")
	f.StringVar(&o.report, "report", "", "write the report as JSON to `FILE`")
	registerOutput(f, &o.output)
	o.screenOptions.register(f)
	f.StringVar(&o.events, "events", "", "write one JSON object for each break to `FILE`")
	f.StringVar(&o.profile, "pprof", "", profileUsage)
	f.StringVar(&o.record, "record", "", recordUsage)
	o.flightOptions.register(f)
	f.Var((*flags.Count)(&o.maxBreaks), "max-breaks", "exit with status 3 if there are more than `N` breaks")
	f.BoolVar(&o.lowerBound, "accept-lower-bound", false, "let --max-breaks and --budget pass where more may have come than was seen")
	f.StringVar(&o.budgetFile, "budget", "", "exit with status 3 if a rule of the budget in this .toml `FILE` is exceeded")
	f.StringVar(&o.junit, "junit", "", "write what became of the --budget as a JUnit report to `FILE`")
	f.Var(&o.buffer, "buffer", "`SIZE` of the buffer for the events of each observed CPU, a power of two: 64K, 4M")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "print no report")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "print each break as it comes")
	f.BoolVar(&o.json, "json", false, "print the report as JSON on standard output")
	f.StringArrayVar(&o.monitorNames, "monitor", nil, "check each CPU against automaton `NAME` ("+strings.Join(monitor.Known(), ", ")+"), or the .dot file of that name; may be repeated")
	completeMonitor := func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return monitor.Known(), cobra.ShellCompDirectiveDefault // default: files as well
	}
	if err := c.RegisterFlagCompletionFunc("monitor", completeMonitor); err != nil {
		panic(err) // no such flag
	}
}

// screenOptions are those of every command that prints the first screen of a report.
type screenOptions struct {
	full bool
	sort flags.Choice
}

func (o *screenOptions) register(f *pflag.FlagSet) {
	o.sort = flags.NewChoice(screen.Orders()...)
	f.BoolVar(&o.full, "full", false, "print the whole report: every cause, origin and limit")
	f.Var(&o.sort, "sort", "order causes by `FIGURE`: time, count or longest")
}

const recordUsage = "record everything that is seen to `FILE`, for \"taskiso report\""

const profileUsage = "write who interrupted, as stacks for \"go tool pprof\", to `FILE`"

// registerOutput adds the flag of every command that prints a report.
func registerOutput(f *pflag.FlagSet, to *string) {
	f.StringVarP(to, "output", "o", "", "write the whole report as text to `FILE` instead of printing it")
}

// complete notes what was given and refuses what cannot be meant.
func (o *options) complete(c *cobra.Command) error {
	o.cpusGiven = c.Flags().Changed("cpus")
	o.maxBreaksGiven = c.Flags().Changed("max-breaks")
	if c.Flags().Changed("duration") && o.duration == 0 {
		return usageError("a duration of 0 would observe nothing")
	}
	if o.quiet && o.verbose {
		return usageError("--quiet and --verbose exclude each other")
	}
	if o.junit != "" && o.budgetFile == "" {
		return usageError("--junit %s needs a --budget, whose limits are its test cases", o.junit)
	}
	if o.lowerBound && o.budgetFile == "" && !o.maxBreaksGiven {
		return usageError("--accept-lower-bound needs --max-breaks or --budget")
	}
	if err := o.loadBudget(); err != nil {
		return err
	}
	if err := o.loadMonitors(); err != nil {
		return err
	}
	var err error
	o.flight, err = o.flightOptions.config(c)
	return err
}

func (o *options) loadBudget() error {
	if o.budgetFile == "" {
		return nil
	}
	b, err := readBudget(o.budgetFile)
	b.AcceptLowerBound = o.lowerBound
	o.budget = &b
	return err
}

func (o *options) loadMonitors() error {
	for _, name := range o.monitorNames {
		m, err := monitor.Load(name)
		if err != nil {
			return usageError("%w", err)
		}
		o.monitors = append(o.monitors, m)
	}
	return nil
}
