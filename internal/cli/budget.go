// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"github.com/spf13/cobra"

	"github.com/taskiso/taskiso/internal/budget"
	"github.com/taskiso/taskiso/internal/display"
	"github.com/taskiso/taskiso/internal/report"
	"github.com/taskiso/taskiso/internal/run"
)

func (p *program) budgetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "budget",
		Short: "Judge reports by a budget: how many interruptions there may be",
		Long: `A budget is a TOML file of rules. Each selects interruptions, by cause, by the process
behind them and by CPU, and bounds their number, their rate, the longest, and the share of
time they take; or it asks for a time without any. docs/budgets.md describes the file.

"taskiso run --budget FILE" and "taskiso watch --budget FILE" judge what they observe.
The commands here judge reports and recordings, which --report and --record have written,
and write a first budget.`,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(p.budgetCheckCommand(), p.budgetInitCommand())
	return c
}

// budgetOptions are those of taskiso budget check.
type budgetOptions struct {
	json, annotate bool
	junit          string
	lowerBound     bool // is accepted
}

func (p *program) budgetCheckCommand() *cobra.Command {
	var opts budgetOptions
	c := &cobra.Command{
		Use:   "check BUDGET REPORT...",
		Short: "Judge reports by a budget",
		Long: `check judges each REPORT, which "taskiso run" or watch has written with --report FILE or
--record FILE, by the rules of BUDGET. A limit is exceeded if what was seen is beyond it, whatever was not seen;
it is unknown if what was seen is within it and something leaves the figure in doubt, such
as lost events, or a CPU that is not nohz_full, where nothing reports every kernel entry
(--accept-lower-bound leaves that out); otherwise it is met.

The exit status is 0 if every limit is met; 3 if one is exceeded; 2 for a wrong command
line or a mistake in BUDGET; 125 if none is exceeded and one is unknown, or if a report
cannot be read.`,
		Example: `  taskiso run -c 3 -d 1m --report app.json -- ./app
  taskiso budget init app.json > app.toml
  taskiso budget check app.toml app.json
  taskiso budget check app.toml app.rec
  taskiso budget check --junit result.xml app.toml *.json`,
		Args: some(2, 0, "a BUDGET and one REPORT or more"),
		RunE: func(_ *cobra.Command, args []string) error { return p.budgetCheck(args[0], args[1:], opts) },
	}
	c.Flags().BoolVar(&opts.json, "json", false, "print JSON")
	c.Flags().BoolVar(&opts.annotate, "annotations", false, "print each limit that is not met as an annotation of GitHub Actions")
	c.Flags().StringVar(&opts.junit, "junit", "", "write the result as a JUnit report to `FILE`")
	c.Flags().BoolVar(&opts.lowerBound, "accept-lower-bound", false, "let a limit be met where more may have come than was seen")
	c.MarkFlagsMutuallyExclusive("json", "annotations")
	return c
}

func (p *program) budgetCheck(file string, names []string, opts budgetOptions) error {
	b, err := readBudget(file)
	if err != nil {
		return err
	}
	b.AcceptLowerBound = opts.lowerBound
	result, err := b.JudgeFiles(version(), names, run.ReadReport)
	if err != nil {
		return aboutFiles(err)
	}
	if err := p.printBudget(&result, opts); err != nil {
		return err
	}
	switch result.Verdict {
	case budget.Exceeded:
		return &status{exitTooManyBreaks, nil}
	case budget.Unknown:
		return &status{exitFailed, nil}
	}
	return nil
}

// readBudget reads the file of a budget, which is part of the command line.
func readBudget(file string) (budget.Budget, error) {
	b, err := budget.ReadFile(file)
	if err != nil {
		return b, usageError("%w", err)
	}
	return b, nil
}

func (p *program) printBudget(r *budget.Result, opts budgetOptions) error {
	if opts.junit != "" {
		if err := display.Publish(opts.junit, r.WriteJUnit); err != nil {
			return err
		}
	}
	switch {
	case opts.json:
		return display.JSON(p.stdout, r)
	case opts.annotate:
		return r.WriteAnnotations(p.stdout)
	}
	return r.WriteText(p.text(p.stdout))
}

func (p *program) budgetInitCommand() *cobra.Command {
	var headRoom float64
	c := &cobra.Command{
		Use:   "init REPORT...",
		Short: "Print a budget that reports meet",
		Long: `init prints a budget to standard output: a rule for each cause that the reports have, with
the rate and the longest interruption that were seen and some head-room, and a rule that
allows no other cause. Give it reports or recordings of several runs as they should be.
Those of a CPU that is not nohz_full meet it with --accept-lower-bound only.

The exit status is 0; 2 for a wrong command line; 125 if a report cannot be read.`,
		Example: `  taskiso budget init monday.json tuesday.json > app.toml`,
		Args:    some(1, 0, "one REPORT or more"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !(headRoom >= 1 && headRoom <= 1000) {
				return usageError("--head-room %v: want 1 to 1000", headRoom)
			}
			return p.budgetInit(args, headRoom)
		},
	}
	c.Flags().Float64Var(&headRoom, "head-room", 1.5, "allow breaks `TIMES` as long as the longest")
	return c
}

func (p *program) budgetInit(names []string, headRoom float64) error {
	reports, err := report.ReadFiles(names, run.ReadReport)
	if err != nil {
		return aboutFiles(err)
	}
	return budget.Propose(p.stdout, headRoom, reports)
}
